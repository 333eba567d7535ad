"""Ask a bundle: ``python ask.py "a question"``."""

import argparse
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from transforms.bundles.edge.dense import EdgeDense
from transforms.bundles.edge.encoder import OnnxEncoder
from transforms.bundles.edge.files import BundleFiles
from transforms.bundles.edge.lexicon import Lexicon
from transforms.bundles.edge.steps import use_tables
from transforms.bundles.edge.substitutes import DocumentNumbers, EdgeRows
from transforms.bundles.edge.where import GRAMMAR
from transforms.search.fusion import Units
from transforms.search.options import FUSIONS, MODES, RankOptions
from transforms.search.ranker import Ranker
from transforms.search.spread import Spread

#: The stemmer of the bundle's language, a class; ``ask.py`` sets it.
STEMMER: Any = None
_STARTED = time.perf_counter()
_SHOWN = 300


class Bundle:
    """A bundle whose files are opened when they are first needed."""

    def __init__(self, path: Path) -> None:
        """Read what the bundle says of itself; ``path`` is its folder or its archive."""
        self._files = files = BundleFiles(path)
        self._live = live = EdgeRows(files)
        self.about = about = files.about
        self._encoder: OnnxEncoder | None = None
        self._lexicon: Lexicon | None = None
        ranker: Any = Ranker
        self._ranker = ranker(
            EdgeDense(files, live),
            self._open_lexicon,
            DocumentNumbers(files.array("documents")),
            live,
            SimpleNamespace(
                documents=about["documents"],
                passages=about["passages"],
                weight=about["weight"],
                identity=SimpleNamespace(normalize=about["model"]["normalize"]),
            ),
        )
        if about["units"] is not None:
            # They were measured on the store's own vectors.
            spread = Spread(about["units"]["mean"], about["units"]["deviation"])
            units = Units(spread, about["units"]["words"])
            self._ranker.units = lambda: units

    def search(self, question: str, options: RankOptions) -> list[dict[str, Any]]:
        """Return the hits of a question as ``albeam search --json`` prints them.

        Raises:
            ValueError: the question or an option can't be used.
        """
        self._check(question, options)
        vectors = None
        if options.mode != "lexical":
            self._encoder = encoder = self._encoder or self._load_encoder()
            vectors = encoder.encode(question)[None]
        [found] = self._ranker.rank([question], vectors, options)
        rows = found.rows.tolist()
        empty = [None] * len(rows)
        halves = [empty if half is None else half.tolist() for half in (found.dense, found.lexical)]
        every = zip(self._files.passages(rows), found.scores.tolist(), *halves, strict=True)
        return [
            {"rank": rank, "score": score, **passage, "dense": dense, "lexical": lexical}
            for rank, (passage, score, dense, lexical) in enumerate(every, options.offset + 1)
        ]

    def _check(self, question: str, options: RankOptions) -> None:
        if not question.strip():
            raise ValueError("the question is blank")
        if options.mode not in self.about["modes"]:
            raise ValueError(f"mode {options.mode}: the bundle has no lexical index")
        if options.weight is not None and options.mode != "hybrid":
            raise ValueError("the weight applies to mode hybrid alone")
        if not 0 <= (options.weight or 0) <= 1:
            raise ValueError("the weight must lie between 0 and 1")
        self._live.mask(options.where)
        if options.k < 1 or options.offset < 0:
            raise ValueError("-k must be 1 or more, and --offset 0 or more")
        try:
            question.encode()
        except UnicodeEncodeError as error:
            raise ValueError("the question is not Unicode") from error

    def _load_encoder(self) -> OnnxEncoder:
        return OnnxEncoder(self._files, self.about["model"])

    def _open_lexicon(self) -> Lexicon:
        if self._lexicon is None:
            stem = None if STEMMER is None else STEMMER().stemWord
            use_tables(self._files.json("characters.json"), stem)
            self._lexicon = Lexicon(self._files)
        return self._lexicon


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Ask this bundle of an albeam store.",
        epilog=GRAMMAR,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("question", nargs="?", help="one question, in words")
    parser.add_argument("--questions", metavar="FILE", help="many questions, one per line")
    parser.add_argument("-k", type=int, default=10, help="number of documents (default: 10)")
    parser.add_argument("--offset", type=int, default=0, help="leave out the best N documents")
    parser.add_argument("--where", metavar="CONDITION", help="on metadata; see below")
    parser.add_argument("--mode", choices=MODES, help="default: hybrid if the bundle allows")
    parser.add_argument("--fusion", choices=FUSIONS, default=FUSIONS[0])
    parser.add_argument("--weight", type=float, help="weight of the cosine in a combination")
    parser.add_argument("--diverse", action="store_true", help="leave out nearly equal passages")
    parser.add_argument("--json", action="store_true", help="print JSON, an array per question")
    parser.add_argument("--measure", action="store_true", help="print time and memory to stderr")
    given = parser.parse_args(words)
    if (given.question is None) == (given.questions is None):
        parser.error("give one of QUESTION and --questions FILE")
    return given


def main(words: list[str] | None = None) -> int:
    """Answer the questions of a command line, and return its exit code."""
    given = _parse(words)
    try:
        if given.questions is None:
            questions = [given.question]
        else:
            questions = Path(given.questions).read_text(encoding="utf-8").splitlines()
        bundle = Bundle(Path(__file__).resolve().parent)
        mode = given.mode or bundle.about["modes"][0]
        ways = given.fusion, given.weight, given.diverse, given.offset
        options = RankOptions(given.k, mode, given.where, *ways)
        for question in questions:
            hits = bundle.search(question, options)
            if given.json:
                print(json.dumps(hits, ensure_ascii=sys.stdout.encoding.lower() != "utf-8"))
            else:
                _show(hits)
    except (ValueError, OSError, ImportError) as error:
        print(f"ask.py: {error}", file=sys.stderr)
        return 2
    if given.measure:
        print(json.dumps(_measured()), file=sys.stderr)
    return 0


def _show(hits: list[dict[str, Any]]) -> None:
    for hit in hits:
        place = f"[{hit['start']}:{hit['end']}]"
        print(f"{hit['rank']:>3}. {hit['score']:.3f}  {hit['document_id']}  {place}")
        print(f"     {' '.join(hit['text'].split())[:_SHOWN]}")
    if not hits:
        print("  no hits")


def _measured() -> dict[str, float]:
    """Return seconds since this file was started, those of processors, and the most memory."""
    return {
        "seconds": time.perf_counter() - _STARTED,
        "processor_seconds": time.process_time(),
        "memory_bytes": _most_memory(),
    }


def _most_memory() -> int:
    """Return the most memory of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # What getrusage tells begins with the memory of the process that started this one.
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
