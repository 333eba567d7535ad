"""Recall of an index against exact search, and the search-time settings that reach a target.

Each shard reports what exact search and each setting find in it. The lists of all shards are merged
here, so that recall is that of the whole segment although no stage holds more than a shard.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from transforms.catalog.index_manifest import Setting
from transforms.errors import RecallMissed
from transforms.index.top_k import Rows, Scores, merge_top_k

Bools = npt.NDArray[np.bool_]
Lists = tuple[Scores, Rows]
Vectors = npt.NDArray[np.float32]

#: The shares of live rows for which recall is measured.
LIVE_SHARES = (1.0, 0.9, 0.5, 0.25, 0.1, 0.01, 0.001)
QUERIES = 256
#: Length of the vector that is added to a row to make a question, relative to the row's length.
_OFFSET = 1.25
#: If so few rows are live, long result lists come from a scan rather than from a search whose
#: recall is below the target.
_FEW = 0.25
#: Neighbours that exact search keeps: a hundred, the query's own row, and one more that shows
#: whether other rows are as near as the last.
EXACT_AT = 102
#: Equal scores may differ by this share of the largest score if they are summed in another order.
TIE = 1e-5


@dataclass(frozen=True)
class ShardReport:
    """The results of the queries in a shard, with the segment's row numbers; see `asked`.

    Attributes:
        exact: maps a share of live rows to lists of `EXACT_AT` rows, the first half of the queries
            above the second.
        found: maps a share and a setting to lists of ten and of a hundred rows.
    """

    exact: dict[float, Lists]
    found: dict[tuple[float, int], tuple[Lists, Lists]]

    def at(self, live: float, value: int) -> tuple[Lists, Lists]:
        """Return what a setting finds.

        For a setting above the highest that was tried, the latter's results are returned. If none
        was tried, a scan is cheaper and finds everything. A setting that was not kept counts as if
        it found nothing.
        """
        tried = [v for share, v in self.found if share == live]
        scores, rows = self.exact[live]
        if tried:
            kept = self.found.get((live, min(value, max(tried))))
            if kept is not None:
                return kept
            scores, rows = np.full_like(scores, -np.inf), np.full_like(rows, -1)
        return (scores[:, :11], rows[:, :11]), (scores, rows)


def asked(live: float) -> tuple[slice, slice]:
    """Return which queries are asked, in two halves that must each reach the target.

    If all rows are live, every other query tunes a setting and the rest confirm it. If fewer are,
    the first half is asked with random live rows, and the second with live rows that are similar.
    """
    return (
        (slice(0, None, 2), slice(1, None, 2))
        if live == 1
        else (slice(0, None, 4), slice(2, None, 4))
    )


def made_questions(rows: Vectors) -> Vectors:
    """Return synthetic question vectors, which lie as far from the rows as real questions do.

    Questions are harder for an index than rows, because their nearest rows are farther away and in
    more lists. Each of the sampled ``rows``, ``[n, dim]``, gets a random mixture of the centred
    rows added, which is a quarter longer than the row. On real vectors, settings that reached a
    recall for these also reached it for real questions (`deploy.bench.index_recall`).
    """
    mixture = np.random.default_rng(len(rows)).normal(size=(len(rows), len(rows)))
    mixed = mixture @ (rows - rows.mean(axis=0))
    lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
    wanted = _OFFSET * np.linalg.norm(rows, axis=1, keepdims=True)
    share = np.divide(wanted, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    made: Vectors = (rows + mixed * share).astype(np.float32)
    return made


def random_rows(share: float, rows: int, shard: int) -> Bools:
    """Choose the live rows of a shard at random, as after deletes."""
    dice = np.random.default_rng([shard, round(share * 1_000_000)])
    return dice.random(rows) < share


def alike_rows(share: float, similarities: Scores) -> Bools:
    """Choose the live rows most similar to one vector, as a filter on a topic does."""
    count = max(1, round(share * len(similarities)))
    least = np.partition(similarities, -count)[-count]
    return np.asarray(similarities >= least)


def recall(exact: Lists, found: Lists, own: Rows, at: int) -> npt.NDArray[np.float64]:
    """Return for each query the share of its nearest ``at`` rows that were found.

    The query's own row is excluded. A row with the same score as the last of the nearest counts
    too, because any of several equal rows may be found.
    """
    best, names = _others(exact, own, at)
    ours, rows = _others(found, own, at)
    there = names >= 0
    counts = there.sum(axis=1)
    last = np.take_along_axis(best, np.maximum(counts - 1, 0)[:, None], 1)
    scale = np.where(there, np.abs(best), 0).max(axis=1, initial=0)[:, None]
    hits = (rows[:, :, None] == names[:, None, :]).any(axis=2) | (ours >= last - TIE * scale)
    hits &= rows >= 0
    shares = np.minimum(1.0, hits.sum(axis=1) / np.maximum(counts, 1))
    return np.where(counts > 0, shares, 1.0)


def _others(lists: Lists, own: Rows, at: int) -> Lists:
    """Return each query's best rows without its own; row -1 marks an empty place."""
    scores, rows = lists
    left_out = (rows < 0) | (rows == own[:, None])
    order = np.argsort(left_out, axis=1, kind="stable")[:, :at]
    scores, rows = (
        np.take_along_axis(each, order, 1) for each in (scores, np.where(left_out, -1, rows))
    )
    return scores, rows


@dataclass(frozen=True)
class Figures:
    """Recall figures of a setting.

    Attributes:
        least, least_at_100: recall@10 and recall@100 of the worst group. The groups are the halves
            of `asked`, for stored vectors and questions separately.
        at_10, at_100: mean recall of the stored vectors.
        questions: mean recall@10 of the questions; None if there are none.
    """

    least: float
    least_at_100: float
    at_10: float
    at_100: float
    questions: float | None


def measure(reports: Sequence[ShardReport], own: Rows, live: float, value: int) -> Figures:
    """Measure the recall of a setting over all shards; ``own`` is -1 for questions."""
    halves = [own[some] for some in asked(live)]
    own, half = np.concatenate(halves), np.repeat([0, 1], [len(each) for each in halves])
    exact = merge_top_k([report.exact[live] for report in reports], EXACT_AT)
    pairs = [report.at(live, value) for report in reports]
    at_10 = recall(exact, merge_top_k([ten for ten, _ in pairs], 11), own, 10)
    at_100 = recall(exact, merge_top_k([hundred for _, hundred in pairs], EXACT_AT), own, 100)
    stored = own >= 0
    groups = [(half == number) & kind for number in (0, 1) for kind in (stored, ~stored)]
    groups = [group for group in groups if group.any()]
    shown = stored if stored.any() else ~stored
    return Figures(
        min(float(at_10[group].mean()) for group in groups),
        min(float(at_100[group].mean()) for group in groups),
        float(at_10[shown].mean()),
        float(at_100[shown].mean()),
        float(at_10[~stored].mean()) if not stored.all() else None,
    )


def choose_settings(
    reports: Sequence[ShardReport], own: Rows, target: float, factory: str
) -> tuple[Setting, ...]:
    """Choose the cheapest settings that reach the target on each half of the queries.

    If no setting reaches it for a share of live rows, searches scan these rows exactly. For long
    result lists the target applies to recall@100. If that can't be reached and many rows are live,
    the best setting is used.

    Args:
        reports: those of all shards.
        own: the row of each query in the segment; -1 for a question.
        target: recall@10 to reach, and for long lists recall@100.
        factory: the index's factory string, for errors.

    Raises:
        RecallMissed: no setting reaches the target for recall@10 with all rows live.
    """
    settings = []
    for live in sorted({share for report in reports for share in report.exact}, reverse=True):
        values = sorted({v for report in reports for share, v in report.found if share == live})
        short: Setting | None = None
        last = Figures(0.0, 0.0, 0.0, 0.0, None)
        for value in values:
            last = measure(reports, own, live, value)
            if short is None and last.least >= target:
                short = Setting(live, value, last.at_10, last.at_100, last.questions, value)
            if short is not None:
                short = replace(short, recall_at_100=last.at_100, value_at_100=value)
                if last.least_at_100 >= target:
                    break
        else:
            if short is None and live == 1:
                raise RecallMissed(
                    "index",
                    factory,
                    f"recall@10 is {last.least:.4f} at most (setting {values[-1]}), below the "
                    f"target of {target}; nothing was published, and the vectors are kept",
                    "Run again with a lower --recall-target, with --index flat, or with finer "
                    "codes such as SQ8",
                )
            if short is None:
                questions = 1.0 if (own < 0).any() else None
                short = Setting(live, 0, 1.0, 1.0, questions)
            elif live <= _FEW:
                short = replace(short, recall_at_100=1.0, value_at_100=0)
        settings.append(short)
    return tuple(settings)


def setting_for(settings: Sequence[Setting], live: float) -> Setting:
    """Return the setting for the largest measured share of live rows that is at most ``live``.

    If the share is below all measured ones, the live rows are scanned exactly.
    """
    fitting = [setting for setting in settings if setting.live <= live]
    return max(fitting, key=_share) if fitting else Setting(live, 0, 1.0, 1.0)


def _share(setting: Setting) -> float:
    return setting.live
