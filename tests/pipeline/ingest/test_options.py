"""The options of embed and plan check themselves, and argparse has the same defaults."""

from typing import Any

import pytest

from pipeline.ingest.commands import _store_options
from pipeline.ingest.options import EmbedOptions, PlanOptions
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


@pytest.mark.parametrize("command", ["embed", "watch"])
def test_the_command_line_has_the_defaults_of_the_options(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALBEAM_MODEL", raising=False)
    words = [command, "in", "--store", "store", "--model", DEFAULT_MODEL]
    arguments = build_parser().parse_args(words)
    arguments.beam_args = ()
    assert _store_options(arguments) == EMBED
