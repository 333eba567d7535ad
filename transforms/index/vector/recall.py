"""Recall of an index against exact search, and the search-time settings that reach a target.

Each shard reports what exact search and each setting find in it; lists of all shards are merged
here, so that recall is that of the whole segment, and no stage holds more than a shard.
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
#: How long what is added to a row is beside it, to make a question.
_OFF = 1.25
#: So few live rows are scanned for long lists rather than searched with less recall.
_FEW = 0.25
#: Neighbours that exact search keeps: a hundred, the query's own row, and one that tells whether
#: there are more rows as near as the last.
EXACT_AT = 102
#: Equal scores may differ by such a share of the greatest when they are summed in another order.
TIE = 1e-5


@dataclass(frozen=True)
class ShardReport:
    """What is found in a shard for the queries that are `asked`, with the segment's row numbers.

    Attributes:
        exact: share of live rows to lists of `EXACT_AT`, those of the first half above the others.
        found: share and setting to lists of ten and of a hundred.
    """

    exact: dict[float, Lists]
    found: dict[tuple[float, int], tuple[Lists, Lists]]

    def at(self, live: float, value: int) -> tuple[Lists, Lists]:
        """What a setting finds; the highest that was tried stands for those above it.

        Where none was tried a scan is cheaper, and finds all; one that was not kept counts as if it
        found nothing.
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
    """Which of the queries are asked, in two halves of which each must reach the target.

    Where all rows live, every other one tunes a setting and the rest confirm it. Where fewer do,
    the first half is asked while random rows live, the second while rows that are alike do.
    """
    return (
        (slice(0, None, 2), slice(1, None, 2))
        if live == 1
        else (slice(0, None, 4), slice(2, None, 4))
    )


def made_questions(rows: Vectors) -> Vectors:
    """Vectors that lie off the rows as people's questions do: each a row and more of the others.

    Questions are harder for an index than rows: their nearest rows are farther away, and in more
    lists. To each of the sampled ``rows``, ``[n, dim]``, a random mixture of what sets them apart
    is added that is a quarter longer than it; with that, settings that reach a recall for these
    reached it for real questions on real vectors (`deploy.bench.index_recall`).
    """
    mixture = np.random.default_rng(len(rows)).normal(size=(len(rows), len(rows)))
    mixed = mixture @ (rows - rows.mean(axis=0))
    lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
    wanted = _OFF * np.linalg.norm(rows, axis=1, keepdims=True)
    share = np.divide(wanted, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    made: Vectors = (rows + mixed * share).astype(np.float32)
    return made


def random_rows(share: float, rows: int, shard: int) -> Bools:
    """Live rows of a shard, as deletes leave them."""
    dice = np.random.default_rng([shard, round(share * 1_000_000)])
    return dice.random(rows) < share


def alike_rows(share: float, similarities: Scores) -> Bools:
    """Live rows of a shard as a filter on a topic leaves them: those most similar to one vector."""
    count = max(1, round(share * len(similarities)))
    least = np.partition(similarities, -count)[-count]
    return np.asarray(similarities >= least)


def recall(exact: Lists, found: Lists, own: Rows, at: int) -> npt.NDArray[np.float64]:
    """For each query the share of its nearest ``at`` rows that were found, its own left out.

    A row that scores as well as the last of the nearest counts: of equal ones any may be found.
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
    """Each query's best rows, its own left out; row -1 where there are fewer."""
    scores, rows = lists
    left_out = (rows < 0) | (rows == own[:, None])
    order = np.argsort(left_out, axis=1, kind="stable")[:, :at]
    scores, rows = (
        np.take_along_axis(each, order, 1) for each in (scores, np.where(left_out, -1, rows))
    )
    return scores, rows


@dataclass(frozen=True)
class Figures:
    """Mean recall of queries, and the least of the halves by which a setting is judged.

    Attributes:
        least, least_at_100: recall of the worse half of those that `asked` tells, of the stored
            vectors and of the questions.
        at_10, at_100: of the stored vectors.
        questions: recall@10 of the questions; None where there are none.
    """

    least: float
    least_at_100: float
    at_10: float
    at_100: float
    questions: float | None


def measure(reports: Sequence[ShardReport], own: Rows, live: float, value: int) -> Figures:
    """The recall of a setting over all shards; queries whose ``own`` is -1 are questions."""
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
    """The cheapest settings that reach the target on each half of the queries.

    A share of live rows for which none does is scanned exactly. For long lists the target is one
    for recall@100; where that can't be reached, and many rows live, the best setting has to do.

    Args:
        reports: of all shards.
        own: the row of each query in the segment, -1 for a question.
        target: recall@10, and for long lists recall@100.
        factory: the index's factory string, for errors.

    Raises:
        RecallMissed: with all rows live, no setting reaches the target at 10.
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
    """The setting measured for the largest share of live rows that is not above this one.

    Where fewer live than in any, they are scanned exactly.
    """
    fitting = [setting for setting in settings if setting.live <= live]
    return max(fitting, key=_share) if fitting else Setting(live, 0, 1.0, 1.0)


def _share(setting: Setting) -> float:
    return setting.live
