"""Write the checkpoints of a journal, and remove the old files that they replace.

Two writers do no harm: both write the same checkpoint, and files are removed only after newer
checkpoints have condensed them.
"""

from collections.abc import Iterable

import pyarrow as pa

from transforms.storage import filesystem
from transforms.storage.retries import in_threads
from transforms.streaming.checkpoint import TABLES, Checkpoint, write_checkpoint
from transforms.streaming.journal import Journal, JournalState, documents_name, numbers_in
from transforms.streaming.journal_entries import LoggedEntry, read_entry

#: A checkpoint is due after so many closed entries.
ENTRIES_PER_CHECKPOINT = 32
#: Condensed entries and checkpoints that are kept for readers of an older checkpoint.
_KEPT_ENTRIES, _KEPT_CHECKPOINTS = 1024, 3


def condense(state: JournalState) -> JournalState:
    """Write a checkpoint of the closed entries if one is due; return the journal's state then."""
    closed = [each for each in state.entries if each.closing is not None]
    if len(closed) < ENTRIES_PER_CHECKPOINT:
        return state
    journal, number = state.journal, closed[-1].entry.number
    tables = _condensed_tables(journal, state.checkpoint, closed)
    write_checkpoint(journal.root, number, state.last_snapshot, tables)
    _truncate(journal)
    return journal.read()


def _condensed_tables(
    journal: Journal, checkpoint: Checkpoint, closed: Iterable[LoggedEntry]
) -> dict[str, pa.Table]:
    """Return the tables of a checkpoint, with what later closed entries say."""
    pieces = {name: [TABLES[name].empty_table(), *checkpoint.read_table(name)] for name in TABLES}
    for each in closed:
        rows = [
            {"url": file.url, "size": file.size, "version": file.version, "stored": each.is_stored}
            for file in each.taken_files()
        ]
        pieces["files"].append(pa.Table.from_pylist(rows, TABLES["files"]))
        documents = journal.read_documents(each.entry.segment) if each.is_stored else None
        if documents is not None:
            name = "versions" if "version" in documents.schema.names else "owners"
            pieces[name].append(documents.select(TABLES[name].names).cast(TABLES[name]))
    return {
        "files": _merged(pieces["files"], "stored", "any"),
        "versions": _merged(pieces["versions"], "version", "max"),
        "owners": _merged(pieces["owners"], "url", "last"),
    }


def _merged(pieces: list[pa.Table], column: str, how: str) -> pa.Table:
    """Return one row for all rows that differ in nothing but ``column``, which is aggregated."""
    table = pa.concat_tables(pieces)
    keys = [name for name in table.schema.names if name != column]
    # One thread keeps the order of the rows, which decides what is last.
    merged = pa.TableGroupBy(table, keys, use_threads=False).aggregate([(column, how)])
    names = [f"{name}_{how}" if name == column else name for name in table.schema.names]
    return pa.table([merged.column(name) for name in names], table.schema)


def _truncate(journal: Journal) -> None:
    """Remove the entries and checkpoints that no reader needs any more."""
    names = filesystem.list_names(journal.root)
    checkpoints = sorted(numbers_in(names, r"checkpoint-(\d{8})\.json"))
    last = checkpoints[-1] - _KEPT_ENTRIES
    numbers = [number for number in numbers_in(names, r"(\d{8})\.json") if number <= last]
    entries = [journal.entry_url(number) for number in numbers]
    segments = [entry.segment for entry in in_threads(read_entry, entries)]
    _remove(filesystem.join(journal.root, documents_name(segment)) for segment in segments)
    _remove(map(journal.closing_url, numbers))
    # After a kill the next truncation finds what is left by the entry.
    _remove(entries)
    oldest = checkpoints[-_KEPT_CHECKPOINTS:][0]
    pattern = rf"(?:checkpoint|{'|'.join(TABLES)})-(\d{{8}})[-.].*"
    _remove(
        filesystem.join(journal.root, name)
        for name in names
        if any(number < oldest for number in numbers_in([name], pattern))
    )


def _remove(urls: Iterable[str]) -> None:
    in_threads(filesystem.remove, urls)
