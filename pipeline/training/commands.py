"""``albeam pretrain``, ``distill`` and ``finetune``: from parsed arguments to options."""

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.command_line.console import print_json, tell
from pipeline.training.options import DistillOptions, FinetuneOptions, PretrainOptions
from pipeline.training.rerank_options import RerankOptions
from pipeline.training.task_options import ClassifyOptions, ReadOptions, SimilarOptions, TagOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.training.options import StudentShape


def run_pretrain(arguments: Any) -> None:
    """Train a network on masked words and the order of segments."""
    from pipeline.training.pretrain import pretrain

    given = vars(arguments) | {"texts": tuple(arguments.texts), "work": _work_folder(arguments)}
    given["output"] = arguments.output.absolute()
    given["shape"] = StudentShape(**{f.name: given[f.name] for f in fields(StudentShape)})
    if arguments.model is not None:
        given["model"] = _model_folder(arguments.model)
    options = PretrainOptions(**{f.name: given[f.name] for f in fields(PretrainOptions)})
    _train(arguments, lambda log: pretrain(options, log))


def run_distill(arguments: Any) -> None:
    """Train a student."""
    from pipeline.training.distill import distill

    given = vars(arguments) | {"texts": tuple(arguments.texts), "work": _work_folder(arguments)}
    given["output"] = arguments.output.absolute()
    given["shape"] = StudentShape(**{f.name: given[f.name] for f in fields(StudentShape)})
    if arguments.student is not None:
        given["student"] = _model_folder(arguments.student)
    options = DistillOptions(**{f.name: given[f.name] for f in fields(DistillOptions)})
    _train(arguments, lambda log: distill(options, log))


def run_retrieve(arguments: Any) -> None:
    """Train a model on pairs of questions and passages."""
    from pipeline.training.finetune import finetune

    pairs = tuple((passages, questions) for passages, questions in arguments.pairs)
    given = vars(arguments) | {"pairs": pairs, "work": _work_folder(arguments)}
    given["output"] = arguments.output.absolute()
    given["model"] = _model_folder(arguments.model)
    options = FinetuneOptions(**{f.name: given[f.name] for f in fields(FinetuneOptions)})
    _train(arguments, lambda log: finetune(options, log))


def run_finetune_classify(arguments: Any) -> None:
    """Train a network to classify texts."""
    from pipeline.training.finetune_classify import finetune_classify

    options = ClassifyOptions(**_task_options(arguments, ClassifyOptions))
    _train(arguments, lambda log: finetune_classify(options, log))


def run_finetune_tag(arguments: Any) -> None:
    """Train a network to find entities."""
    from pipeline.training.finetune_tag import finetune_tag

    options = TagOptions(**_task_options(arguments, TagOptions))
    _train(arguments, lambda log: finetune_tag(options, log))


def run_finetune_read(arguments: Any) -> None:
    """Train a network to find the answers to questions in passages."""
    from pipeline.training.finetune_read import finetune_read

    options = ReadOptions(**_task_options(arguments, ReadOptions))
    _train(arguments, lambda log: finetune_read(options, log))


def run_finetune_similar(arguments: Any) -> None:
    """Train a sentence encoder on pairs of texts with scores."""
    from pipeline.training.finetune_similar import finetune_similar

    options = SimilarOptions(**_task_options(arguments, SimilarOptions))
    _train(arguments, lambda log: finetune_similar(options, log))


def run_finetune_rerank(arguments: Any) -> None:
    """Train a network to order the passages that a search found."""
    from pipeline.training.finetune_rerank import finetune_rerank

    pairs = tuple((passages, questions) for passages, questions in arguments.pairs)
    given = vars(arguments) | {"pairs": pairs, "work": _work_folder(arguments)}
    given["output"] = arguments.output.absolute()
    given["model"] = _model_folder(arguments.model)
    options = RerankOptions(**{f.name: given[f.name] for f in fields(RerankOptions)})
    _train(arguments, lambda log: finetune_rerank(options, log))


def _task_options(arguments: Any, owner: type[Any]) -> dict[str, Any]:
    """Return the values of the fields of an options class of a training on labelled rows."""
    given = {n: tuple(v) if isinstance(v, list) else v for n, v in vars(arguments).items()} | {
        "work": _work_folder(arguments),
        "output": arguments.output.absolute(),
        "model": _model_folder(arguments.model),
    }
    return {field.name: given[field.name] for field in fields(owner)}


def _work_folder(arguments: Any) -> Path:
    output = arguments.output.absolute()
    work: Path = arguments.work or output.with_name(f"{output.name}.work")
    return work


def _model_folder(name: str) -> Path:
    """Return a model's folder; the shipped model is given by its name."""
    from transforms.models.resolve import find_folder

    return Path(find_folder(ModelOptions(name))[0] if name == DEFAULT_MODEL else name)


def _train(arguments: Any, train: Callable[[Callable[[str], object]], Any]) -> None:
    """Run a training; with ``--json`` the result goes to stdout and progress to stderr."""

    def log(line: str) -> None:
        tell(line, sys.stderr if arguments.json else sys.stdout)

    result = train(log)
    if arguments.json:
        print_json(vars(result))
