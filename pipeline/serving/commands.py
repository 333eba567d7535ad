"""``albeam serve`` and ``mcp``: parsed arguments to options."""

from typing import Any

from pipeline.serving.arguments import heads_of, stores_of
from pipeline.serving.options import Limits, ServeOptions
from transforms.errors import BadInput
from transforms.models.options import Placement


def run_serve(arguments: Any) -> None:
    """Run ``albeam serve``."""
    given = arguments
    if given.add_key is not None or given.remove_key is not None:
        _change_keys(given)
        return
    for option in ("key_store", "key_where"):
        if getattr(given, option) is not None:
            raise BadInput(option, getattr(given, option), "needs --add-key", "Give both")
    options = ServeOptions(
        stores=stores_of(given.stores),
        host=given.host,
        port=given.port,
        workers=given.processes,
        model=given.model,
        reader=given.reader,
        reranker=given.reranker,
        heads=heads_of(given.heads),
        placement=Placement(given.device, given.dtype),
        keys=given.keys,
        allowed_hosts=tuple(given.allowed_hosts),
        origins=tuple(given.origins),
        follow=given.follow,
        log=given.log,
        traces=given.otel,
        limits=Limits(k=given.max_k, queue=given.queue, seconds=given.timeout),
    )
    from pipeline.serving.serve import run

    run(options)


def run_mcp(arguments: Any) -> None:
    """Run ``albeam mcp``."""
    given = arguments
    options = ServeOptions(
        stores=stores_of(given.stores),
        model=given.model,
        reader=given.reader,
        placement=Placement(given.device, given.dtype),
        keys=given.keys,
        limits=Limits(seconds=given.timeout),
    )
    from pipeline.serving.serve_tools import run

    run(options)


def _change_keys(arguments: Any) -> None:
    from pipeline.serving.change_keys import run

    given = arguments
    name = given.add_key if given.add_key is not None else given.remove_key
    if given.keys is None:
        remedy = "Give --keys FILE as well"
        raise BadInput("keys", None, "is needed to change the keys", remedy)
    if given.stores or (given.add_key is not None and given.remove_key is not None):
        problem = "changes the file of the keys, and nothing else at once"
        raise BadInput("add_key", name, problem, "Give it alone")
    run(given.keys, name, given.remove_key is not None, given.key_store, given.key_where)
