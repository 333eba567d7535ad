"""How well a model's store finds the documents that answer questions, in each mode."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.bench.answers.corpora import Corpus
from deploy.model.measure import lexical_runs
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import index
from pipeline.maintenance.options import IndexCommandOptions
from transforms.evaluation.metrics import Runs, by_question
from transforms.evaluation.questions import Question
from transforms.index.options import LexicalOptions
from transforms.models.file_digests import hash_files, weights_files
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_folder
from transforms.search.reranker import Reranker, rerank
from transforms.search.store import Store

MODES = ("dense", "lexical", "hybrid")
#: The name of BM25 in the tables, and of the modes that only some systems have.
BM25, BM25_MODE, RERANKED = "bm25s", "bm25", "hybrid + rerank"
METRICS = ("mrr@10", "ndcg@10", "success@1", "recall@100")
DEPTH, RERANK = 100, 30
_AT_ONCE = 256
_NUMBERS = "numbers"

Values = dict[str, npt.NDArray[np.float64]]
#: The folders whose code decides what a search finds.
_CODE = ("transforms/search", "transforms/index")
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Measured:
    """What a system reaches on a corpus.

    Attributes:
        modes: mode, then metric: the values of the questions, float64 ``[questions]``. Those of
            `RERANKED` are of the first questions alone.
        numbers: further figures: ``embed_seconds``, ``lexical_share`` (the lexical index's time
            by that of embedding) and ``rerank_ms`` (the median for a question).
    """

    modes: dict[str, Values]
    numbers: dict[str, float]

    def save(self, path: Path, key: str) -> None:
        """Write the values; ``key`` says what they depend on."""
        arrays = {
            f"{mode}/{metric}": values
            for mode, metrics in self.modes.items()
            for metric, values in metrics.items()
        }
        text = json.dumps({"key": key, _NUMBERS: self.numbers})
        with _put(path) as partial:
            np.savez(partial, about=np.array(text), **arrays)

    @classmethod
    def load(cls, path: Path, key: str) -> Measured | None:
        """Return what was saved; None if there is nothing, or it depends on something else."""
        if not path.exists():
            return None
        with np.load(path) as stored:
            about = json.loads(str(stored["about"]))
            if about["key"] != key:
                return None
            modes: dict[str, Values] = {}
            for name in stored.files:
                mode, _, metric = name.partition("/")
                if metric:
                    modes.setdefault(mode, {})[metric] = stored[name]
        return cls(modes, about[_NUMBERS])


def measure_bm25(corpus: Corpus, work: Path) -> Measured:
    """Return what bm25s reaches, or what it reached before."""
    path, key = work / f"{corpus.name}-{BM25}.npz", f"{corpus.fingerprint} {DEPTH}"
    found = Measured.load(path, key)
    if found is None:
        runs = lexical_runs(corpus.passages, corpus.asked, DEPTH)
        found = Measured({BM25_MODE: _values(corpus.asked, runs)}, {})
        found.save(path, key)
    return found


def measure_model(
    corpus: Corpus,
    name: str,
    model: str,
    work: Path,
    reranker: Callable[[], Reranker] | None,
    reranked: int,
) -> Measured:
    """Return what a model reaches, or what it reached before; its store stays in ``work``.

    Args:
        corpus: the corpus.
        name: the model's name in the tables.
        model: its folder or name.
        work: the folder of stores and results.
        reranker: loads the reranker of the best `RERANK` documents; None for none.
        reranked: how many of the questions are reranked.
    """
    weights = hash_files(weights_files(find_folder(ModelOptions(model))[0]))
    ranker = "" if reranker is None else reranker().digest
    key = " ".join((corpus.fingerprint, weights, ranker, str(reranked), code_digest()))
    path = work / f"{corpus.name}-{name}.npz"
    found = Measured.load(path, key)
    if found is not None:
        return found
    store, numbers = embedded(corpus, name, model, work, weights)
    modes = {}
    for mode in MODES:
        runs = dict(_search(store, corpus.asked, mode))
        modes[mode] = _values(corpus.asked, runs)
    if reranker is not None:
        some = corpus.asked[:reranked]
        runs, numbers["rerank_ms"] = _rerank(store, some, reranker())
        modes[RERANKED] = _values(some, runs)
    found = Measured(modes, numbers)
    found.save(path, key)
    return found


def embedded(
    corpus: Corpus, name: str, model: str, work: Path, weights: str
) -> tuple[Store, dict[str, float]]:
    """Return the store of a corpus, embedded and indexed unless it was, and what that took."""
    url = work / "stores" / f"{corpus.name}-{name}-{weights[:8]}"
    timing = url.with_suffix(".json")
    if not timing.exists():
        started = time.perf_counter()
        none = LexicalOptions("none")
        inputs = (str(corpus.passages),)
        embed.run(EmbedOptions(inputs, str(url), ModelOptions(model), lexical=none))
        seconds = time.perf_counter() - started
        index.run(str(url), IndexCommandOptions(None, LexicalOptions()))
        share = (time.perf_counter() - started - seconds) / seconds
        timing.write_text(json.dumps({"embed_seconds": seconds, "lexical_share": share}))
    return Store.open(str(url)), json.loads(timing.read_text())


def code_digest() -> str:
    """Return a digest of the code that decides what a search finds."""
    files = [path for folder in _CODE for path in sorted((_ROOT / folder).rglob("*.py"))]
    return hash_files(files)


def _search(
    store: Store, asked: Sequence[Question], mode: str
) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        texts = [each.question for each in some]
        for question, hits in zip(some, store.search(texts, DEPTH, mode), strict=True):
            yield question.question_id, [(hit.document_id, hit.score) for hit in hits]


def _rerank(store: Store, asked: Sequence[Question], model: Reranker) -> tuple[Runs, float]:
    """Return the runs of a hybrid search whose best are reranked, and the median milliseconds."""
    # The import of torch takes the time of no question.
    model.full()
    runs, times = {}, []
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        texts = [each.question for each in some]
        for question, hits in zip(some, store.search(texts, DEPTH, "hybrid"), strict=True):
            started = time.perf_counter()
            best = rerank(hits[:RERANK], question.question, model)
            times.append(1_000 * (time.perf_counter() - started))
            ordered = [*best, *hits[RERANK:]]
            runs[question.question_id] = [(hit.document_id, hit.score) for hit in ordered]
    return runs, float(np.median(times))


def _values(asked: Sequence[Question], runs: Runs) -> Values:
    found = by_question(asked, runs, DEPTH)
    return {name: found[name] for name in METRICS}


@contextmanager
def _put(path: Path) -> Iterator[Path]:
    """Give a file the name to write to, and its own name when it is complete."""
    partial = path.with_name(f"partial-{path.name}")
    yield partial
    partial.rename(path)
