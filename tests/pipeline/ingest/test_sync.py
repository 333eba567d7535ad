"""Embedding into a store that has documents already: what is done again, and what is not."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest import diff as diff_module
from pipeline.ingest import embed as embed_module
from pipeline.ingest.embed import run
from pipeline.ingest.embed_summary import EmbedSummary
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import compact
from pipeline.maintenance.options import VacuumOptions
from pipeline.maintenance.snapshots import run as list_snapshots
from pipeline.maintenance.vacuum import run as vacuum
from pipeline.maintenance.verify import run as verify
from tests.end_to_end.test_embed import start
from tests.support.models import make_texts
from tests.support.options import embed_options
from tests.support.raising import raises
from transforms import Store
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import read_snapshot, snapshot_numbers
from transforms.errors import BadInput, Conflict
from transforms.index.options import IndexOptions
from transforms.transactions import commits
from transforms.transactions.buckets import remove_buckets
from transforms.transactions.commits import roll_back
from transforms.transactions.removal import remove_documents

TEXTS = make_texts(40, seed=5, longest=80)
#: Id to text and year.
Documents = dict[str, tuple[str | None, int]]
FIRST: Documents = {f"d{n:02d}": (text, 2000) for n, text in enumerate(TEXTS[:20])}


def make_options(folder: Path, albert: Path) -> EmbedOptions:
    """Of runs on few documents by a tiny model; without inputs."""
    return embed_options(folder / "store", albert, rows_per_part=7)


@pytest.fixture
def options(tmp_path: Path, albert: Path) -> EmbedOptions:
    return make_options(tmp_path, albert)


def embed(
    options: EmbedOptions, documents: Documents, mode: str = "sync", **more: Any
) -> EmbedSummary:
    """Embed documents from a file of their own, so that the same ones are the same input."""
    name = f"{abs(hash(tuple(documents.items())))}.parquet"
    path = Path(options.store).parent / name
    if not path.exists():
        write(path, list(documents), documents.values())
    return run(replace(options, inputs=(str(path),), mode=mode, **more))


def write(path: Path, ids: Any, values: Any) -> None:
    texts, years = zip(*values, strict=True)
    table = pa.table({"id": ids, "text": pa.array(texts, pa.string()), "year": years})
    pq.write_table(table, path, row_group_size=6)


def rows_of(store: str) -> dict[tuple[str, int], dict[str, Any]]:
    rows = [row for table in Store.open(store).documents() for row in table.to_pylist()]
    found = {(row["document_id"], row["passage"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def kinds(summary: EmbedSummary) -> tuple[int, ...]:
    """New, changed, metadata, unchanged, removed."""
    return (
        summary.new, summary.changed, summary.metadata, summary.unchanged, summary.removed
    )  # fmt: skip


def assert_like_fresh(options: EmbedOptions, documents: Documents) -> None:
    """The store holds what a new one made of the same documents holds, and finds it."""
    fresh = replace(options, store=options.store + "-fresh")
    embed(fresh, documents, "replace")
    ours, theirs = rows_of(options.store), rows_of(fresh.store)
    assert ours.keys() == theirs.keys()
    for key, row in ours.items():
        np.testing.assert_allclose(row.pop("vector"), theirs[key].pop("vector"), atol=2e-6)
        assert row == theirs[key]
    questions = ["river stone", "winter market paper"]
    found, expected = (
        Store.open(store, dtype="float32").search(questions, k=100, mode="dense")
        for store in (options.store, fresh.store)
    )
    for mine, plain in zip(found, expected, strict=True):
        assert {hit.document_id for hit in mine} == {hit.document_id for hit in plain}
        assert [hit.score for hit in mine] == pytest.approx([h.score for h in plain], abs=1e-5)
    verify(options.store)


def changed(documents: Documents) -> Documents:
    """One text and two years others, one document less and one more."""
    after = dict(documents)
    after["d03"] = (TEXTS[30], 2000)
    after["d04"] = (after["d04"][0], 2001)
    after["d11"] = (after["d11"][0], 2002)
    del after["d07"]
    after["e00"] = (TEXTS[31], 2000)
    return after


def test_sync_embeds_what_changed_carries_metadata_and_removes(options: EmbedOptions) -> None:
    first = embed(options, FIRST)
    assert kinds(first) == (20, 0, 0, 0, 0)
    before = rows_of(options.store)
    after = changed(FIRST)
    second = embed(options, after)
    assert kinds(second) == (1, 1, 2, 16, 1)
    assert second.documents == 20
    assert (second.snapshot, second.parts) == (2, 2)
    assert 0 < second.tokens < first.tokens / 3
    rows = rows_of(options.store)
    for name in ("d04", "d11", "d12"):
        passages = [key for key in before if key[0] == name]
        assert passages
        for key in passages:
            assert rows[key]["vector"] == before[key]["vector"]
            assert rows[key]["year"] == after[name][1]
    assert_like_fresh(options, after)
    # Back to the older input: what it had and what differs is embedded again.
    third = embed(options, FIRST)
    assert kinds(third) == (1, 1, 2, 16, 1)
    assert third.segment != first.segment
    assert_like_fresh(options, FIRST)
    again = embed(options, FIRST)
    assert "Nothing to do" in again.notice
    assert (again.snapshot, again.model_loads) == (3, 0)
    assert (kinds(again), again.tokens) == ((0, 0, 0, 20, 0), 0)


def test_a_notice_names_metadata_that_the_input_was_read_without(options: EmbedOptions) -> None:
    assert embed(options, FIRST).notice == ""
    bare = replace(options, columns=ColumnOptions())
    again = embed(bare, FIRST)
    assert kinds(again) == (0, 0, 20, 0, 0)
    assert "The metadata year of the store was not read from this input" in again.notice
    assert "--metadata-columns" in again.notice


def test_append_adds_and_replaces_and_removes_nothing(options: EmbedOptions) -> None:
    embed(options, FIRST, "append")
    some = {name: changed(FIRST)[name] for name in ("d02", "d03", "d04", "e00")}
    summary = embed(options, some, "append")
    assert kinds(summary) == (1, 1, 1, 1, 0)
    assert_like_fresh(options, FIRST | some)
    for mode in ("append", "append"):
        again = embed(options, some, mode)
        assert (again.snapshot, again.model_loads) == (2, 0)
        assert "Nothing to do" in again.notice
    assert embed(options, FIRST | some, "sync").snapshot == 2
    assert snapshot_numbers(options.store) == [1, 2]


def test_replace_starts_from_nothing(options: EmbedOptions) -> None:
    embed(options, FIRST)
    some = {name: FIRST[name] for name in ("d02", "d03")}
    summary = embed(options, some, "replace")
    assert kinds(summary) == (2, 0, 0, 0, 0)
    assert {key[0] for key in rows_of(options.store)} == {"d02", "d03"}
    back = embed(options, FIRST, "replace")
    assert (back.snapshot, back.parts_found_done) == (3, back.parts)
    assert {key[0] for key in rows_of(options.store)} == set(FIRST)


def test_metadata_alone_needs_no_model_and_removals_alone_no_segment(options: EmbedOptions) -> None:
    embed(options, FIRST)
    years = {name: (text, 1999) for name, (text, _) in FIRST.items()}
    summary = embed(options, years)
    assert (kinds(summary), summary.model_loads, summary.tokens) == ((0, 0, 20, 0, 0), 0, 0)
    assert summary.parts == 3
    fewer = {name: years[name] for name in list(years)[5:]}
    summary = embed(options, fewer)
    assert (kinds(summary), summary.model_loads) == ((0, 0, 0, 15, 5), 0)
    snapshot = Store.open(options.store).snapshot
    assert (snapshot.number, len(snapshot.segments), snapshot.documents) == (3, 1, 15)
    assert_like_fresh(options, fewer)


def test_delete_then_append_brings_documents_back(options: EmbedOptions) -> None:
    embed(options, FIRST, "append")
    remove_documents(options.store, ["d03", "d04"])
    summary = embed(options, FIRST, "append")
    assert kinds(summary) == (2, 0, 0, 18, 0)
    assert_like_fresh(options, FIRST)


def test_documents_that_are_rejected_now_are_removed_and_counted_in_a_notice(
    options: EmbedOptions,
) -> None:
    embed(options, FIRST)
    poor = FIRST | {"d03": (" ", 2000), "d04": (None, 2000), "z": ("", 2000)}
    summary = embed(options, poor)
    assert kinds(summary) == (0, 0, 0, 18, 0)
    assert summary.rejects == {"blank text": 1, "empty text": 1, "null text": 1}
    assert "2 live documents were rejected in this input and removed" in summary.notice
    assert {key[0] for key in rows_of(options.store)} == set(FIRST) - {"d03", "d04"}
    again = embed(options, poor)
    assert "Nothing to do" in again.notice
    assert again.snapshot == 2


@pytest.mark.parametrize("moment", ["before it is read", "while it is read"])
def test_a_comparison_that_another_run_removed_is_a_conflict(
    options: EmbedOptions, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(options, FIRST)
    real = diff_module.Comparison.finished
    waiting = [remove_buckets]

    def finished(self: Any) -> Any:
        before = real(self)
        if waiting:
            waiting.pop()(self.paths)
            return before if moment == "while it is read" else real(self)
        return before

    monkeypatch.setattr(diff_module.Comparison, "finished", finished)
    with pytest.raises(Conflict) as caught:
        embed(options, changed(FIRST))
    assert (caught.value.option, caught.value.value) == ("store", options.store)
    assert {key[0] for key in rows_of(options.store)} == set(FIRST)
    embed(options, changed(FIRST))
    assert_like_fresh(options, changed(FIRST))


def test_a_text_without_tokens_is_tried_once(options: EmbedOptions) -> None:
    embed(options, FIRST)
    # Accents alone are a text, of which the tokenizer leaves nothing.
    poor = FIRST | {"d03": ("\u0301", 2000), "z": ("\u0301", 2000)}
    first = embed(options, poor)
    assert kinds(first) == (0, 0, 0, 19, 0)
    assert "1 live document was rejected in this input and removed" in first.notice
    assert first.rejects == {"no tokens": 2}
    assert "d03" not in {key[0] for key in rows_of(options.store)}
    again = embed(replace(options, stride=9), poor)
    assert kinds(again) == (0, 0, 0, 19, 0)
    assert again.rejects == {"no tokens": 2}
    assert "Nothing to do" in again.notice
    compact.run(options.store)
    assert "Nothing to do" in embed(replace(options, stride=10), poor).notice
    good = poor | {"z": (TEXTS[31], 2000)}
    assert kinds(embed(options, good))[:2] == (1, 0)
    # Known to be without tokens already, and live with another text: gone again.
    assert (
        "1 live document was rejected in this input and removed"
        in embed(options, poor, "append").notice
    )
    assert {key[0] for key in rows_of(options.store)} == set(FIRST) - {"d03"}
    embed(options, FIRST)
    assert_like_fresh(options, FIRST)


@pytest.mark.parametrize("live", [False, True])
def test_of_documents_with_one_id_the_first_or_the_last_counts(
    options: EmbedOptions, tmp_path: Path, live: bool
) -> None:
    if live:
        embed(options, {"a": ("river", 1), "x": ("stone", 1)}, "append")
    for number, ids in enumerate((["a", "b", "a"], ["c", "b", "d"])):
        values = [(text, number) for text in TEXTS[number * 3 : number * 3 + 3]]
        write(tmp_path / f"in{number}.parquet", ids, values)
    inputs = tuple(str(tmp_path / f"in{number}.parquet") for number in range(2))
    twice = replace(options, inputs=inputs)
    before = snapshot_numbers(options.store)
    with raises(BadInput, "id_column", "id", "2 ids"):
        run(twice)
    assert snapshot_numbers(options.store) == before
    for which, places in (("first", (0, 1)), ("last", (2, 4))):
        summary = run(replace(twice, on_duplicate=which))
        assert "2 input rows were ignored" in summary.notice
        rows = rows_of(options.store)
        for name, place in zip("ab", places, strict=True):
            assert TEXTS[place].startswith(rows[name, 0]["text"])
        assert {key[0] for key in rows} == set("abcdx" if live else "abcd")


@pytest.mark.slow
def test_a_sync_that_was_killed_between_parts_goes_on(
    options: EmbedOptions, tmp_path: Path
) -> None:
    texts = make_texts(600, seed=11)
    documents: Documents = {f"n{n:04d}": (text, 1) for n, text in enumerate(texts)}
    after = {name: (text, 2) for name, (text, _) in list(FIRST.items())[:5]} | documents
    embed(options, FIRST)
    write(tmp_path / "late.parquet", list(after), after.values())
    late = replace(options, inputs=(str(tmp_path / "late.parquet"),), mode="sync", rows_per_part=25)
    process = start(late, tmp_path)
    markers: list[Path] = []
    standing = set(Path(options.store).glob("segments/*/vectors/part-*.json"))
    while len(markers) < 3 and process.poll() is None:
        time.sleep(0.005)
        found = set(Path(options.store).glob("segments/*/vectors/part-*.json"))
        markers = sorted(found - standing)
    assert process.poll() is None, "the run ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert {key[0] for key in rows_of(options.store)} == set(FIRST)
    done = {path: path.stat().st_mtime_ns for path in markers}
    # Another writer comes in between; the sync is later.
    embed(options, {"other": (TEXTS[33], 1), "d00": (TEXTS[34], 1)}, "append")
    summary = run(late)
    assert 3 <= summary.parts_found_done < summary.parts
    assert all(path.stat().st_mtime_ns == made for path, made in done.items())
    assert kinds(summary) == (600, 0, 5, 0, 15)
    rows = rows_of(options.store)
    assert {key[0] for key in rows} == set(after)
    assert rows["d00", 0]["year"] == 2
    afresh = run(replace(late, resume=False))
    assert "Nothing to do" in afresh.notice
    verify(options.store)


def meanwhile(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object]) -> None:
    """Let another writer commit once, between a run's comparison and its work."""
    real = embed_module.execute

    def overtaken(*given: Any) -> Any:
        monkeypatch.setattr(embed_module, "execute", real)
        other()
        return real(*given)

    monkeypatch.setattr(embed_module, "execute", overtaken)


def test_a_run_whose_comparison_went_stale_conflicts_and_run_again_compares_anew(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(options, FIRST)
    some = {name: FIRST[name] for name in list(FIRST)[:3]}
    [ref] = read_snapshot(options.store).segments

    def other() -> None:
        embed(options, some, "replace")
        Path(SegmentPaths(options.store, ref.name).manifest).unlink()

    meanwhile(monkeypatch, other)
    after = FIRST | {"e": (TEXTS[30], 1)}
    with raises(Conflict, "document"):
        embed(options, after)
    assert {key[0] for key in rows_of(options.store)} == set(some)
    assert kinds(embed(options, after)) == (18, 0, 0, 3, 0)
    assert {key[0] for key in rows_of(options.store)} == set(after)


def test_no_resume_leaves_finished_parts_where_they_are(options: EmbedOptions) -> None:
    first = embed(options, FIRST)
    manifest = Path(options.store, "snapshots", "00000001.json")
    # As if killed just before the commit.
    manifest.unlink()
    resumed = embed(options, FIRST)
    assert (resumed.segment, resumed.parts_found_done) == (first.segment, first.parts)
    assert (resumed.tokens, resumed.tokens_per_second) == (first.tokens, 0)
    manifest.unlink()
    afresh = embed(options, FIRST, resume=False)
    assert afresh.segment != first.segment
    assert (afresh.parts_found_done, afresh.parts) == (0, first.parts)
    assert_like_fresh(options, FIRST)


def test_unchanged_documents_that_another_writer_took_out_come_back_as_they_were(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(options, FIRST)
    some = {name: FIRST[name] for name in list(FIRST)[:3]}
    meanwhile(monkeypatch, lambda: embed(options, some, "replace"))
    after = FIRST | {"e": (TEXTS[30], 1)}
    assert kinds(embed(options, after)) == (1, 0, 0, 20, 0)
    assert_like_fresh(options, after)


def test_a_small_change_of_a_store_with_lists_is_searched_exactly(options: EmbedOptions) -> None:
    lists = replace(options, index=IndexOptions("IVF4,Flat", 0.5))
    embed(lists, FIRST)
    summary = embed(lists, FIRST | {"d03": (TEXTS[30], 2000)})
    assert (summary.index, summary.changed) == ("Flat", 1)
    assert summary.index_reason.startswith("too few rows (")
    assert summary.index_reason.endswith(") for IVF4,Flat: exact search")


@pytest.mark.parametrize("mode", ["replace", "sync"])
def test_two_modes_of_one_input_at_once_are_two_runs(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    embed(options, FIRST)
    after = changed(FIRST)
    real = diff_module.create_change_set

    def create(*given: Any) -> Any:
        monkeypatch.setattr(diff_module, "create_change_set", real)
        embed(options, after, "append")
        return real(*given)

    monkeypatch.setattr(diff_module, "create_change_set", create)
    with raises(Conflict, "store", options.store, "--mode append"):
        embed(options, after, mode)
    assert "d07" in {key[0] for key in rows_of(options.store)}
    embed(options, after, mode)
    assert_like_fresh(options, after)


def test_a_killed_replacement_is_not_what_a_sync_goes_on_with(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(options, FIRST)
    after = changed(FIRST)
    with monkeypatch.context() as patched:
        patched.setattr(embed_module, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            embed(options, after, "replace")
    assert kinds(embed(options, after)) == (1, 1, 2, 16, 1)
    assert_like_fresh(options, after)


def interrupted(*_: Any) -> int:
    raise KeyboardInterrupt


def test_a_damaged_snapshot_that_was_rolled_back_does_not_stop_its_command(
    options: EmbedOptions,
) -> None:
    embed(options, FIRST)
    after = changed(FIRST)
    embed(options, after)
    path = Path(options.store, "snapshots", "00000002.json")
    path.write_bytes(path.read_bytes().replace(b'"documents": ', b'"documents": 1', 1))
    roll_back(options.store, 1)
    assert kinds(embed(options, after)) == (1, 1, 2, 16, 1)
    assert_like_fresh(options, after)
    rows = list_snapshots(options.store)
    assert [row["snapshot"] for row in rows if "damaged" in row] == [2]


def test_a_run_is_resumed_where_an_earlier_one_of_the_same_command_was_vacuumed(
    options: EmbedOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(options, FIRST)
    embed(options, {"z": (TEXTS[39], 1)})
    real = embed_module.execute

    def stopped(*given: Any) -> Any:
        with monkeypatch.context() as inner:
            inner.setattr(commits, "commit", interrupted)
            return real(*given)

    with monkeypatch.context() as patched:
        patched.setattr(embed_module, "execute", stopped)
        with pytest.raises(KeyboardInterrupt):
            embed(options, FIRST)
    [under_way] = [path for path in Path(options.store, "segments").iterdir() if "-" in path.name]
    old = time.time() - 30 * 86_400
    for path in Path(options.store).rglob("*"):
        if under_way not in path.parents:
            os.utime(path, (old, old))
    first = Path(options.store, "segments", under_way.name.partition("-")[0])
    # As if nothing kept it: the snapshot that has it is older than what the run compared with.
    vacuum(options.store, VacuumOptions(keep=1, older_than=7 * 86_400))
    assert not first.exists()
    back = embed(options, FIRST)
    assert (back.parts_found_done, back.model_loads) == (back.parts, 0)
    assert_like_fresh(options, FIRST)
