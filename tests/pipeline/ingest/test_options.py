"""The options of embed, plan and watch check themselves, and argparse has the same defaults."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import main
from pipeline.ingest.commands import _store_options
from pipeline.ingest.options import EmbedOptions, PlanOptions, WatchCommandOptions
from pipeline.parser import build_parser
from transforms.errors import BadInput
from transforms.models.options import DEFAULT_MODEL, ModelOptions

EMBED = EmbedOptions(("in",), "store", ModelOptions(DEFAULT_MODEL))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("mode", "merge"),
        ("on_duplicate", "newest"),
        ("vector_dtype", "float64"),
        ("rows_per_part", 0),
    ],
)
def test_embed_options_check_themselves(option: str, value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        EmbedOptions(**vars(EMBED) | {option: value})
    assert (caught.value.option, caught.value.value) == (option, value)


def test_a_blank_input_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        EmbedOptions(**vars(EMBED) | {"inputs": ("in", " ")})
    assert (caught.value.option, caught.value.value) == ("input", " ")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rows", 0),
        ("parallel", 0),
        ("tokens_per_second", 0.0),
        ("tokens_per_second", float("inf")),
        ("price_per_hour", -1.0),
        ("price_per_hour", float("nan")),
    ],
)
def test_plan_options_check_themselves(option: str, value: float) -> None:
    with pytest.raises(BadInput) as caught:
        PlanOptions(EMBED, **{option: value})  # type: ignore[arg-type]
    assert caught.value.option == option


@pytest.mark.parametrize(
    ("option", "value"),
    [("every", 0.0), ("until_idle", -1.0), ("max_segments", 0)],
)
def test_watch_options_check_themselves(option: str, value: float) -> None:
    embed = replace(EMBED, runner="prism")
    with pytest.raises(BadInput) as caught:
        WatchCommandOptions(embed, **{option: value})  # type: ignore[arg-type]
    assert (caught.value.option, caught.value.value) == (option, value)


def test_the_direct_runner_can_t_watch() -> None:
    with pytest.raises(BadInput) as caught:
        WatchCommandOptions(EMBED)
    assert (caught.value.option, caught.value.value) == ("runner", "direct")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--every", "0"), "--every 0.0: must be above 0"),
        (("--max-segments", "0"), "--max-segments 0: must be at least 1"),
    ],
)
def test_a_watch_checks_its_options_before_its_model_and_its_store(
    words: tuple[str, ...], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    watch = ["watch", str(tmp_path), "--store", str(store), "--runner", "prism"]
    assert main([*watch, "--model", str(tmp_path / "gone"), *words]) == 2
    assert problem in capsys.readouterr().err
    assert not store.exists()


@pytest.mark.parametrize("command", ["embed", "watch"])
def test_the_command_line_has_the_defaults_of_the_options(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALBEAM_MODEL", raising=False)
    words = [command, "in", "--store", "store", "--model", DEFAULT_MODEL]
    arguments = build_parser().parse_args(words)
    arguments.beam_args = ()
    assert _store_options(arguments) == EMBED
