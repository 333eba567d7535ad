"""Memoize two pure functions of Beam, which take most of the time of a tiny pipeline.

Beam inspects the signatures of each DoFn's methods dozens of times while it builds and runs a
pipeline, and builds an argparse parser for each view of its options. Tests run hundreds of tiny
pipelines. Nothing else of Beam is replaced. `ALBEAM_PLAIN_BEAM=1` turns it off.
"""

import types
from collections import OrderedDict
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core

_MOST_VIEWS = 256


def memoize_beam() -> None:
    """Replace `get_function_args_defaults` and `PipelineOptions.view_as` by memoized ones."""
    inspect = core.get_function_args_defaults
    found: dict[Any, tuple[list[str], list[Any]]] = {}

    def arguments(function: Any) -> tuple[list[str], list[Any]]:
        if not isinstance(function, types.MethodType):
            return inspect(function)
        key = function.__func__
        if key not in found:
            found[key] = inspect(function)
        names, defaults = found[key]
        return list(names), list(defaults)

    core.get_function_args_defaults = arguments

    view_as = PipelineOptions.view_as
    # The options are kept with their view, so that no other object gets their id.
    views: OrderedDict[tuple[int, type], tuple[Any, Any]] = OrderedDict()

    def view(self: Any, cls: type) -> Any:
        options = self._all_options
        key = (id(options), cls)
        if key not in views:
            views[key] = (options, view_as(self, cls))
        views.move_to_end(key)
        while len(views) > _MOST_VIEWS:
            views.popitem(last=False)
        return views[key][1]

    PipelineOptions.view_as = view
