"""``albeam distill`` and ``albeam finetune``: parsed arguments to options."""

from typing import Any


def run_distill(arguments: Any) -> None:
    """Train a student."""
    from dataclasses import fields

    from pipeline.distill import DistillOptions, distill
    from transforms.student import Shape

    given = vars(arguments) | {"texts": tuple(arguments.texts), "work": _work(arguments)}
    shape = {field.name: given[field.name] for field in fields(Shape) if field.name in given}
    rest = {f.name: given[f.name] for f in fields(DistillOptions) if f.name in given}
    distill(DistillOptions(**rest | {"shape": Shape(**shape)}))


def run_finetune(arguments: Any) -> None:
    """Teach a model pairs."""
    from dataclasses import fields

    from pipeline.finetune import FinetuneOptions, finetune

    pairs = tuple((passages, questions) for passages, questions in arguments.pairs)
    given = vars(arguments) | {"pairs": pairs, "work": _work(arguments)}
    finetune(
        FinetuneOptions(
            **{f.name: given[f.name] for f in fields(FinetuneOptions) if f.name in given}
        )
    )


def _work(arguments: Any) -> Any:
    """The folder of checkpoints: beside the output, where none is given."""
    return arguments.work or arguments.output.with_name(arguments.output.name + ".work")
