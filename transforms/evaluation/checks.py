"""What distorts an evaluation: ids that the store lacks, and questions that are read in part."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from transforms.evaluation.metrics import Runs, found_ids
from transforms.evaluation.questions import Question
from transforms.search.options import RankOptions
from transforms.search.question_check import QuestionCheck, check_questions
from transforms.search.store import Store

_ID = "document_id"
#: Rows of which the ids are read at once.
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Checks:
    """What distorts an evaluation.

    Attributes:
        relevant_ids: number of relevant ids, each counted once.
        unknown_ids: number of relevant ids that the store lacks.
        cut_questions: number of questions that are longer than what the model reads.
        unknown_questions: number of questions that are mostly unknown to the model.
        notes: sentences for the user.
    """

    relevant_ids: int = 0
    unknown_ids: int = 0
    cut_questions: int = 0
    unknown_questions: int = 0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, int | str]:
        """Return what ``--json`` prints of them."""
        return {
            "relevant_ids": self.relevant_ids,
            "unknown_ids": self.unknown_ids,
            "cut_questions": self.cut_questions,
            "unknown_questions": self.unknown_questions,
            "notice": " ".join(self.notes),
        }


def check_evaluation(
    store: Store,
    questions: Sequence[Question],
    modes: Iterable[str],
    found: Iterable[Runs] = (),
    others: Mapping[str, Runs] | None = None,
    rank: RankOptions | None = None,
) -> Checks:
    """Look up the ids of an evaluation in the store, and check its questions.

    Args:
        store: the store that is measured.
        questions: the questions with their relevant ids.
        modes: the modes that are measured; mode lexical does not depend on the model.
        found: what the store itself has found, so that these ids need not be looked up.
        others: runs of other systems by name.
        rank: has the condition that documents must meet to be found, if there is one.
    """
    relevant = list(dict.fromkeys(name for each in questions for name in each.relevant))
    theirs = {name: found_ids(run) for name, run in (others or {}).items()}
    seen = {name for run in found for name in found_ids(run)}
    unknown = unknown_ids(store, {*relevant, *(n for run in theirs.values() for n in run)} - seen)
    notes = _note(relevant, unknown, "relevant ids", "is not in the store", "are not in the store")
    if rank is not None and rank.where is not None:
        hidden = hidden_ids(store, {*relevant} - seen - unknown, rank)
        words = "does not meet the condition", "do not meet the condition"
        notes += _note(relevant, hidden, "relevant ids", *words)
    for name, ids in theirs.items():
        words = "is not in the store", "are not in the store"
        notes += _note(list(ids), unknown, f"document ids of the run {name}", *words)
    check = QuestionCheck()
    if any(mode != "lexical" for mode in modes):
        texts, names = zip(*((each.question, each.question_id) for each in questions), strict=True)
        identity = store.snapshot.identity
        check = check_questions(texts, store.encoder.tokenizer, identity, names)
    return Checks(
        len(relevant),
        sum(name in unknown for name in relevant),
        check.cut,
        check.unknown,
        (*notes, *check.notes()),
    )


def unknown_ids(store: Store, ids: Iterable[str]) -> set[str]:
    """Return the ids that no live document of a store has."""
    left = set(ids)
    wanted = _encodable(left)
    # The documents are read only as far as an id is missing.
    for table in store.documents([_ID]) if len(wanted) else ():
        left -= _among(table.column(_ID), wanted)
        if not left:
            break
    return left


def hidden_ids(store: Store, ids: Iterable[str], rank: RankOptions) -> set[str]:
    """Return the ids of which no live passage meets the condition of ``rank``."""
    left = set(ids)
    wanted = _encodable(left)
    rows = store.live.numbers(rank.where)
    for start in range(0, len(rows) if left else 0, _ROWS_AT_ONCE):
        some = store.read_rows(rows[start : start + _ROWS_AT_ONCE], [_ID])
        left -= _among(some.column(_ID), wanted)
    return left


def _encodable(ids: set[str]) -> pa.Array:
    """Return ids as Arrow strings, without those that no store can have: half a surrogate pair."""
    kept = [name for name in ids if name == name.encode("utf-8", "ignore").decode()]
    return pa.array(kept, pa.string())


def _among(column: pa.ChunkedArray, wanted: pa.Array) -> set[str]:
    return set(column.filter(pc.is_in(column, value_set=wanted)).to_pylist())


def _note(
    ids: Sequence[str], wrong: set[str], what: str, one: str, several: str
) -> tuple[str, ...]:
    """Return a sentence about the ids that are wrong, if there are any."""
    found = [name for name in ids if name in wrong]
    if not found:
        return ()
    counts = f"{len(found):,} of {len(ids):,} {what}"
    if len(found) == 1:
        return (f"{counts} {one}: {found[0]!r}.",)
    return (f"{counts} {several}, {found[0]!r} among them.",)
