"""Any sequence of commands on a store, against a store that is a dictionary."""

import functools
import hashlib
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import compact, delete, vacuum, verify
from pipeline.maintenance.options import CompactOptions, VacuumOptions
from tests.pipeline.ingest.test_sync import Documents, embed, kinds, rows_of
from tests.support.models import make_model, make_texts
from transforms.catalog.options import ColumnOptions
from transforms.catalog.snapshot import read_snapshot, snapshot_numbers
from transforms.models.options import ModelOptions, Placement
from transforms.search.store import Store
from transforms.transactions.commits import roll_back

IDS = "abcdefgh"
#: None is a text that is rejected.
TEXTS = [None, *make_texts(5, seed=11, longest=60)]
INPUTS = st.dictionaries(
    st.sampled_from(IDS),
    st.tuples(st.sampled_from(TEXTS), st.sampled_from([2000, 2001])),
    min_size=1,
    max_size=7,
)


@functools.cache
def model_folder() -> str:
    """A tiny model that all histories share."""
    return str(make_model(Path(tempfile.mkdtemp(prefix="albeam-histories-")) / "albert"))


def contents(store: str, snapshot: int | None = None) -> Documents:
    """Id to text and year of the live documents, each with all its passages, once."""
    found: dict[str, list[tuple[int, int, str, int]]] = {}
    for table in Store.open(store, snapshot).documents():
        for row in table.to_pylist():
            piece = (row["passage"], row["start"], row["text"], row["year"])
            found.setdefault(row["document_id"], []).append(piece)
    documents: Documents = {}
    for name, pieces in found.items():
        pieces.sort()
        assert [piece[0] for piece in pieces] == list(range(len(pieces)))
        text = ""
        for _, start, part, _ in pieces:
            assert start <= len(text)
            text = text[:start] + part
        [year] = {piece[3] for piece in pieces}
        documents[name] = (text, year)
    return documents


def texts_and_years(documents: Documents) -> Documents:
    """What of the documents is live: without the rejected ones, blanks at the ends cut off."""
    return {name: (text.strip(), year) for name, (text, year) in documents.items() if text}


class Histories(RuleBasedStateMachine):
    """Commands and, for each snapshot that they leave, what it must hold."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="albeam-history-"))
        self.store = str(self.folder / "store")
        self.live: Documents = {}
        self.past: dict[int, Documents] = {}
        self.options = EmbedOptions(
            inputs=(),
            store=self.store,
            model=ModelOptions(model_folder(), max_tokens=48),
            columns=ColumnOptions(all_columns=True),
            stride=8,
            placement=Placement("cpu", "float32"),
            rows_per_part=3,
        )

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def has_store(self) -> bool:
        return bool(self.past)

    @rule(mode=st.sampled_from(["append", "sync", "replace"]), documents=INPUTS)
    def embed(self, mode: str, documents: Documents) -> None:
        before = self.live
        self.live = {} if mode in ("sync", "replace") else dict(before)
        for name, (text, year) in documents.items():
            self.live.pop(name, None)
            if text is not None:
                self.live[name] = (text, year)
        summary = embed(self.options, documents, mode)
        if mode != "replace":
            assert kinds(summary) == self.classify(before, documents, mode)
        self.note()

    def classify(self, before: Documents, documents: Documents, mode: str) -> tuple[int, ...]:
        """Numbers of new, changed, in metadata changed, unchanged and removed documents."""
        counts = dict.fromkeys(("new", "changed", "metadata", "unchanged"), 0)
        for name, (text, year) in documents.items():
            if text is None:
                continue
            if name not in before:
                counts["new"] += 1
            elif before[name][0] != text:
                counts["changed"] += 1
            else:
                counts["unchanged" if before[name][1] == year else "metadata"] += 1
        removed = len(before.keys() - documents.keys()) if mode == "sync" else 0
        return (*counts.values(), removed)

    @precondition(has_store)
    @rule(ids=st.sets(st.sampled_from(IDS), min_size=1, max_size=5))
    def delete(self, ids: set[str]) -> None:
        summary = delete.run(self.store, sorted(ids))
        assert summary.documents == len(ids & self.live.keys())
        assert summary.missing == len(ids - self.live.keys())
        self.live = {name: value for name, value in self.live.items() if name not in ids}
        self.note()

    @precondition(has_store)
    @rule(most=st.integers(1, 3))
    def compact(self, most: int) -> None:
        compact.run(self.store, CompactOptions(max_segments=most))
        assert len(read_snapshot(self.store).segments) <= most
        self.note()

    @precondition(has_store)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.past)))
        roll_back(self.store, number)
        self.live = self.past[number]
        self.note()

    @precondition(has_store)
    @rule(keep=st.integers(1, 4))
    def vacuum(self, keep: int) -> None:
        vacuum.run(self.store, VacuumOptions(keep, older_than=-60))
        self.past = {number: self.past[number] for number in sorted(self.past)[-keep:]}
        assert vacuum.run(self.store, VacuumOptions(keep, -60, dry_run=True)).files == 0

    def note(self) -> None:
        """Remember the newest snapshot; one that was there already has its old content."""
        number = snapshot_numbers(self.store)[-1]
        assert self.past.setdefault(number, self.live) == self.live
        opened = read_snapshot(self.store)
        assert opened.documents == len(self.live)

    @precondition(has_store)
    @invariant()
    def the_store_is_the_dictionary(self) -> None:
        assert snapshot_numbers(self.store) == sorted(self.past)
        assert contents(self.store) == texts_and_years(self.live)
        oldest = min(self.past)
        assert contents(self.store, oldest) == texts_and_years(self.past[oldest])
        verify.run(self.store)
        for row in rows_of(self.store).values():
            text = self.live[row["document_id"]][0]
            assert text is not None
            assert row["text_hash"] == hashlib.blake2b(text.encode(), digest_size=16).digest()

    @precondition(has_store)
    @invariant()
    def each_document_is_found_by_its_own_text(self) -> None:
        if self.live:
            name, (text, _) = min(self.live.items())
            [hits] = Store.open(self.store, dtype="float32").search([text or ""], k=100)
            assert {hit.document_id for hit in hits} == self.live.keys()
            assert self.live[hits[0].document_id][0] == text, name


TestHistories = pytest.mark.slow(Histories.TestCase)
TestHistories.settings = settings(
    max_examples=8,
    stateful_step_count=8,
    deadline=None,
    # A step takes a second: to shrink what failed would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
