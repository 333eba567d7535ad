"""The journal of a watch: entries, checkpoints that say the same, and what a new batch reads."""

import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.raising import raises
from tests.support.watched import counted_requests
from transforms.errors import Damaged
from transforms.storage.filesystem import FileInfo, list_names
from transforms.streaming import checkpoint_writer
from transforms.streaming.checkpoint import TABLES
from transforms.streaming.checkpoint_writer import ENTRIES_PER_CHECKPOINT, condense
from transforms.streaming.file_intake import replaced_ids
from transforms.streaming.journal import Journal, JournalState
from transforms.streaming.journal_entries import Entry


@pytest.fixture(autouse=True)
def _without_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of small files take long on a slow disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.of(str(tmp_path / "store"), ["in"])


def add(journal: Journal, number: int, *urls: str, rejected: tuple[str, ...] = ()) -> Entry:
    files = tuple(FileInfo(url, 10, f"v{number}") for url in urls)
    reasons = dict.fromkeys(rejected, "why")
    entry = Entry(number, f"s{number:05d}", 1, files, reasons, time.time())
    assert journal.add(entry)
    return entry


def add_messages(journal: Journal, first: int, last: int, documents: int = 7) -> None:
    """Add closed entries, and condense the journal before each as a watch does."""
    for number in range(first, last + 1):
        condense(journal.read())
        journal.write_versions(f"s{number:05d}", {f"d{number % documents}": (number, False)})
        journal.close(add(journal, number, f"f{number}"), number)


def test_an_entry_is_added_once_and_closed_once(journal: Journal) -> None:
    entry = Entry(1, "segment", 2, (FileInfo("a", 1, "v"),), {"b": "why"}, time.time())
    other = Entry(1, "another", 2, (), {}, time.time())
    assert journal.read().last_number == 0
    assert journal.add(entry)
    assert not journal.add(other)
    assert journal.read().open_entry == entry
    journal.close(entry, 7)
    assert journal.close(entry, 8).snapshot == 7
    state = journal.read()
    assert (state.open_entry, state.last_number, state.last_snapshot) == (None, 1, 7)


def test_an_entry_that_was_given_up_keeps_only_its_rejected_files(journal: Journal) -> None:
    entry = add(journal, 1, "good", "bad", rejected=("bad",))
    good, bad = entry.files
    assert journal.read().taken_files() == {good, bad}
    journal.close(entry, reason="good was changed while it was read")
    assert journal.read().taken_files() == {bad}
    assert journal.read().stored_urls() == set()


def test_ids_of_earlier_files_are_read_only_for_one_that_comes_again(journal: Journal) -> None:
    journal.write_ids("s00001", {"a": ["1", "2"], "b": ["3"]})
    journal.close(add(journal, 1, "a", "b"), 1)
    journal.write_ids("s00002", {"c": ["4"]})
    other = add(journal, 2, "c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "read_ids", lambda *_: pytest.fail("ids were read"))
        assert replaced_ids(journal.read(), other) == set()
    journal.close(other, 2)
    journal.write_ids("s00003", {"a": ["2"]})
    again = add(journal, 3, "a")
    assert replaced_ids(journal.read(), again) == {"1"}
    journal.close(again, 3)
    # A file without rows, and one that can't be read.
    journal.write_ids("s00004", {})
    empty = add(journal, 4, "b")
    assert replaced_ids(journal.read(), empty) == {"3"}
    assert replaced_ids(journal.read(), replace(empty, rejected={"b": "torn"})) == set()


def test_the_reads_of_a_batch_do_not_grow_with_the_age_of_the_stream(journal: Journal) -> None:
    def requests() -> int:
        with counted_requests() as found:
            state = condense(journal.read())
            state.taken_files()
            assert state.versions_of(["d1"]) == {"d1": newest}
        return found.total()

    add_messages(journal, 1, 10)
    newest = 8
    early = requests()
    add_messages(journal, 11, 200)
    newest = 197
    assert requests() <= early
    # At most an entry, its closing and its versions, of each entry since the last checkpoint.
    add_messages(journal, 201, 6 * ENTRIES_PER_CHECKPOINT + ENTRIES_PER_CHECKPOINT - 1)
    newest = 218
    assert requests() <= 4 * ENTRIES_PER_CHECKPOINT + 4


def contents(state: JournalState, kind: str, names: set[str], urls: set[str]) -> dict[str, object]:
    """Return all that a state says, of messages or of files."""
    of_kind: dict[str, object] = (
        {url: state.documents_of({url}) for url in urls} | {"all": state.documents_of(urls)}
        if kind == "files"
        else {"versions": state.versions_of(names)}
    )
    return of_kind | {
        "number": state.last_number,
        "snapshot": state.last_snapshot,
        "is open": state.open_entry is not None,
        "taken": state.taken_files(),
        "stored": state.stored_urls(),
    }


@pytest.mark.parametrize("kind", ["files", "messages"])
@pytest.mark.parametrize("seed", range(4))
def test_a_journal_with_checkpoints_says_what_one_without_says(
    kind: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal without them is that of an earlier version of albeam."""
    monkeypatch.setattr(checkpoint_writer, "ENTRIES_PER_CHECKPOINT", 5)
    condensed, plain = (Journal.of(str(tmp_path / name), ["in"]) for name in ("new", "old"))
    draw = random.Random(seed)
    names, urls = {f"d{n}" for n in range(8)}, {f"f{n}" for n in range(5)}
    for number in range(1, 33):
        condense(condensed.read())
        files = draw.sample(sorted(urls), draw.randint(1, 3))
        rejected = tuple(files[:1]) if draw.random() < 0.2 else ()
        reason = "changed" if draw.random() < 0.2 else ""
        ids = {url: draw.sample(sorted(names), 2) for url in files[:1]}
        versions = {name: (draw.randint(0, 90), False) for name in draw.sample(sorted(names), 3)}
        for journal in (condensed, plain):
            entry = add(journal, number, *files, rejected=rejected)
            if kind == "files":
                journal.write_ids(entry.segment, ids)
            else:
                journal.write_versions(entry.segment, versions)
            if number < 32:
                journal.close(entry, 0 if reason else number, reason)
        state = condensed.read()
        assert state.checkpoint.number == (number - 1) // 5 * 5
        assert len(state.entries) <= 5
        assert contents(state, kind, names, urls) == contents(plain.read(), kind, names, urls)
    # One checkpoint of all closed entries of the earlier version's journal.
    condense(plain.read())
    assert plain.read().checkpoint.number == 31
    assert contents(plain.read(), kind, names, urls) == contents(state, kind, names, urls)


def test_a_writer_that_is_killed_or_late_does_no_harm(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_writer, "ENTRIES_PER_CHECKPOINT", 5)
    add_messages(journal, 1, 5)
    before = journal.read()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("transforms.streaming.checkpoint.filesystem.create_exclusively", die)
        with pytest.raises(KeyboardInterrupt):
            condense(before)
    assert journal.read() == before
    assert condense(before).checkpoint.number == 5
    files = list_names(journal.root)
    # The second writer of the same checkpoint adds nothing.
    assert condense(before) == journal.read()
    assert list_names(journal.root) == files
    add_messages(journal, 6, 10)
    # One that read the journal long ago writes an old checkpoint, which no reader takes.
    newest = condense(journal.read())
    assert condense(before) == newest
    assert newest.versions_of(["d3", "d4", "d6"]) == {"d3": 10, "d4": 4, "d6": 6}


def test_condensed_entries_go_and_the_newest_stay(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_writer, "ENTRIES_PER_CHECKPOINT", 5)
    monkeypatch.setattr(checkpoint_writer, "_KEPT_ENTRIES", 12)
    add_messages(journal, 1, 6)
    old = journal.read()
    add_messages(journal, 7, 31)
    names = list_names(journal.root)
    # Twelve before the last checkpoint, and one since.
    assert [int(name[:8]) for name in names if name.endswith("-closed.json")] == [*range(19, 32)]
    assert sum(name.startswith("ids-") for name in names) == 13
    assert [name for name in names if name.startswith("checkpoint-")] == [
        f"checkpoint-{number:08d}.json" for number in (20, 25, 30)
    ]
    assert sum(name.startswith(tuple(TABLES)) for name in names) == 6
    state = journal.read()
    assert [each.entry.number for each in state.entries] == [31]
    assert len(state.stored_urls()) == 31
    # A reader that follows the entries, as the command does, still finds the last of them.
    assert [each.entry.number for each in journal.read(after=25).entries] == [*range(26, 32)]
    # A process that was stopped meanwhile adds an entry that no reader takes.
    assert old.last_number + 1 == 7
    assert journal.add(Entry(7, "late", 1, (), {}, 0.0))
    assert journal.read() == state


def test_a_checkpoint_names_no_file_outside_the_journal(journal: Journal) -> None:
    add_messages(journal, 1, ENTRIES_PER_CHECKPOINT)
    name = f"checkpoint-{ENTRIES_PER_CHECKPOINT:08d}.json"
    file = Path(journal.root) / name
    condense(journal.read())
    content = file.read_text()
    file.write_text(content.replace('"files": "files-', '"files": "../../files-'))
    with counted_requests(), pytest.raises(Damaged) as caught:
        journal.read()
    assert caught.value.value == str(file)


def test_an_entry_under_another_number_is_damaged(tmp_path: Path) -> None:
    journal = Journal.of(str(tmp_path), ["in"])
    entry = Entry(2, "segment", 0, (), {}, 0.0)
    assert journal.add(entry)
    Path(journal.entry_url(2)).rename(journal.entry_url(3))
    with raises(Damaged, "file", journal.entry_url(3)):
        journal.read()


def test_documents_in_other_columns_are_damaged(tmp_path: Path) -> None:
    journal = Journal.of(str(tmp_path), ["in"])
    journal.write_ids("one", {"a.parquet": ["x"]})
    assert journal.read_ids("one") == {"a.parquet": ["x"]}
    with raises(Damaged, "file", Path(journal.root, "ids-one.parquet")):
        journal.read_versions("one")
    journal.write_versions("two", {"x": (1, False)})
    with raises(Damaged, "file", Path(journal.root, "ids-two.parquet")):
        journal.read_ids("two")
