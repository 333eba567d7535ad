"""Misspelt words on the command line: the message names what they may mean."""

import pytest

from pipeline.cli import main


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["search", "s", "q", "--wher", "x"], ": --wher x. Perhaps you mean --where"),
        (["search", "s", "q", "--wher=x"], ": --wher=x. Perhaps you mean --where"),
        (["verify", "s", "--depe"], ": --depe. Perhaps you mean --deep"),
        (["snapshots", "s", "--zzzz"], ": --zzzz"),
        (["snapshots", "s", "other"], ": other"),
        (["serch", "s"], "). Perhaps you mean search"),
        (["finetune", "clasify"], "). Perhaps you mean classify"),
        (["zzzz"], ")"),
        (["search", "s", "q", "--mode", "dens"], "). Perhaps you mean dense"),
    ],
)
def test_a_misspelt_word_is_refused_with_what_it_may_mean(
    words: list[str], end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.rstrip("\n").endswith(end)
