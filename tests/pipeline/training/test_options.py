"""The options of trainings, their arguments and the result that they print."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.command_line.argument_parser import find_parser
from pipeline.parser import build_parser
from pipeline.training.options import DistillOptions, FinetuneOptions
from pipeline.training.rerank_options import RerankOptions
from pipeline.training.result import TrainingResult
from pipeline.training.task_options import ClassifyOptions, ReadOptions, SimilarOptions, TagOptions
from tests.support.training import SHAPE
from transforms.errors import BadInput
from transforms.training.options import StudentShape

#: The options classes of each training.
OWNERS: dict[str, tuple[Any, ...]] = {
    "distill": (DistillOptions, StudentShape),
    "finetune retrieve": (FinetuneOptions,),
    "finetune classify": (ClassifyOptions,),
    "finetune tag": (TagOptions,),
    "finetune read": (ReadOptions,),
    "finetune rerank": (RerankOptions,),
    "finetune similar": (SimilarOptions,),
}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("minutes", 0.0),
        ("minutes", -1.0),
        ("epochs", float("nan")),
        ("epochs", float("inf")),
        ("rate", 0.0),
        ("evaluate_every", 0),
        ("seed", -1),
        ("batch_tokens", 0),
        ("steps", 0),
        ("warmup", 1.0),
        ("decay", -0.1),
        ("clip", 0.0),
        ("dropout", 1.0),
        ("patience", -1),
        ("train", "head"),
        ("train", "some"),
        ("lora_rank", 0),
        ("optimizer", "lamb"),
        ("held_out", 0),
        ("max_tokens", 65),
    ],
)
def test_numbers_that_cant_work_are_refused_at_once(
    options: DistillOptions, option: str, value: float | str
) -> None:
    with pytest.raises(BadInput) as caught:
        replace(options, **{option: value})  # type: ignore[arg-type]
    assert caught.value.option == option
    assert str(caught.value.value) == str(value)


@pytest.mark.parametrize(
    ("sizes", "option"),
    [
        ({"groups": 0}, "groups"),
        ({"embedding": 64}, "embedding"),
        ({"heads": 5}, "hidden"),
        ({"groups": 4}, "layers"),
    ],
)
def test_sizes_that_no_network_can_have_are_refused(sizes: dict[str, int], option: str) -> None:
    with pytest.raises(BadInput) as caught:
        replace(SHAPE, **sizes)
    assert caught.value.option == option


def test_a_student_brings_its_own_shape(options: DistillOptions, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        replace(options, student=tmp_path)
    assert (caught.value.option, caught.value.value) == ("student", str(tmp_path))
    assert replace(options, student=tmp_path, shape=StudentShape()).student == tmp_path


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"negatives": "hard"}, "negatives"),
        ({"passages": 1}, "passages"),
        ({"neighbours": 49}, "neighbours"),
        ({"average": 0.0}, "average"),
        ({"epochs": 0}, "epochs"),
        ({"temperature": 0.0}, "temperature"),
        ({"questions": 0}, "questions"),
        ({"keep": 0.5}, "keep"),
        ({"keep": -1.0, "distilled": Path("w")}, "keep"),
        ({"device": "tpu"}, "device"),
        ({"precision": "int8"}, "precision"),
        ({"output": Path("m")}, "output"),
    ],
)
def test_finetune_options_are_checked(change: dict[str, Any], option: str) -> None:
    good = FinetuneOptions(model=Path("m"), pairs=(), output=Path("o"), work=Path("w"))
    assert replace(good, keep=0.5, distilled=Path("d")).keep == 0.5
    with pytest.raises(BadInput) as caught:
        replace(good, **change)
    assert caught.value.option == option


@pytest.mark.parametrize("command", OWNERS)
def test_every_option_has_an_argument_with_its_default(command: str) -> None:
    known = {field.name: field for owner in OWNERS[command] for field in fields(owner)}
    known.pop("shape", None)
    actions = {action.dest: action for action in find_parser(build_parser(), command)._actions}
    assert known.keys() <= actions.keys()
    for name, field in known.items():
        if not actions[name].required and name != "work":
            assert actions[name].default == field.default
    shown = actions["rate"].help or ""
    assert shown.endswith(f"(default: {known['rate'].default})")


def test_a_training_without_improvement_reports_so() -> None:
    better = "no later step was better than the first weights"
    assert better in str(TrainingResult("m", 4, 0, 0.5, 1.0))
    line = "wrote m: the weights of step 3, score 0.5000"
    assert str(TrainingResult("m", 4, 3, 0.5, 1.0)) == line


def test_finetune_without_a_task_retrieves() -> None:
    words = ["--model", "m", "--pairs", "p", "q", "--output", "o"]
    parse = build_parser().parse_args
    assert parse(["finetune", *words]) == parse(["finetune", "retrieve", *words])
    assert parse(["finetune", *words]).command == "finetune retrieve"


def test_help_of_finetune_lists_its_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("-h", "--help"):
        with pytest.raises(SystemExit):
            build_parser().parse_args(["finetune", word])
        assert "retrieve" in capsys.readouterr().out
