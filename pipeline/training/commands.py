"""``albeam distill`` and ``albeam finetune``: parsed arguments to options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any


def run_distill(arguments: Any) -> None:
    """Train a student."""
    from dataclasses import fields

    from pipeline.training.distill import DistillOptions, distill
    from transforms.training.initialization import Shape

    given = vars(arguments) | {"texts": tuple(arguments.texts), **_folders(arguments)}
    shape = {field.name: given[field.name] for field in fields(Shape) if field.name in given}
    rest = {f.name: given[f.name] for f in fields(DistillOptions) if f.name in given}
    if "student" in rest:
        rest["student"] = _model(rest["student"])
    rest["shape"] = Shape(**shape)
    _report(arguments, lambda tell: distill(DistillOptions(**rest), tell))


def run_finetune(arguments: Any) -> None:
    """Teach a model pairs."""
    from dataclasses import fields

    from pipeline.training.finetune import FinetuneOptions, finetune

    pairs = tuple((passages, questions) for passages, questions in arguments.pairs)
    given = vars(arguments) | {"pairs": pairs, **_folders(arguments)}
    given["model"] = _model(arguments.model)
    options = {f.name: given[f.name] for f in fields(FinetuneOptions) if f.name in given}
    _report(arguments, lambda tell: finetune(FinetuneOptions(**options), tell))


def _folders(arguments: Any) -> dict[str, Path]:
    """The output, and the folder of checkpoints, beside it where none is given."""
    output = arguments.output.absolute()
    return {"output": output, "work": arguments.work or output.with_name(output.name + ".work")}


def _model(name: str) -> Path:
    """A model's folder; the shipped one has a name."""
    from transforms.models.options import DEFAULT_MODEL, ModelOptions
    from transforms.models.resolve import find_folder

    return Path(find_folder(ModelOptions(name))[0] if name == DEFAULT_MODEL else name)


def _report(arguments: Any, train: Callable[[Callable[[str], object]], Any]) -> None:
    """Train; with ``--json`` progress goes to stderr, and what came of it to stdout."""
    import sys

    from pipeline.command_line.console import print_json

    def tell(line: str) -> None:
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    trained = train(tell)
    if arguments.json:
        print_json(vars(trained))
