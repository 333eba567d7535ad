"""What commands print: tables by columns of the screen, JSON in any encoding."""

import ast
import io
import json
import sys
from pathlib import Path

import pytest

from pipeline.command_line.console import note, print_json, print_pairs, print_table, say, tell

ROOT = Path(__file__).resolve().parents[3]
Output = pytest.CaptureFixture[str]


def test_a_line_is_one_line_whatever_it_holds(capsys: Output) -> None:
    say("a\nb\x1b[2J")
    note("c\u2028d")
    tell("e\rf")
    assert capsys.readouterr() == ("a\\nb\\x1b[2J\n", "note: c\\u2028d\ne\\rf\n")


def test_columns_are_as_wide_as_the_screen_shows_them(capsys: Output) -> None:
    print_table(("name", "n"), [("東京", "1"), ("e\u0301te\u0301", "2"), ("a\x1b", "3")])
    print_pairs([("a", "1\n2"), ("long", "3")])
    assert capsys.readouterr().out.splitlines() == [
        "name   n", "東京   1", "e\u0301te\u0301    2", "a\\x1b  3", "a     1\\n2", "long  3",
    ]  # fmt: skip


HARD = {"text": "é東😀", "id": "\x9b\x7f\u2028\u202e\x00\n\\\udc80", "东": ["\x1b"]}


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "utf-16"])
def test_json_is_the_same_value_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    print_json(HARD)
    sys.stdout.flush()
    text = raw.getvalue().decode(encoding)
    assert json.loads(text) == HARD
    assert [letter for letter in text if not letter.isprintable()] == ["\n"]
    assert ("東" in text) == encoding.startswith("utf")


def test_commands_print_only_by_the_console() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("pipeline/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    # The benchmark shows its steps in one line, which it prints over and over, and talks with the
    # processes of its peers.
    bench = {"commands.py", "systems/own_process.py", "systems/peer_worker.py"}
    console = "pipeline/command_line/console.py"
    assert found == {console, *(f"pipeline/bench/{name}" for name in bench)}
