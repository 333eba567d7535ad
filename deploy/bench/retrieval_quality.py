"""Measure retrieval quality in each mode, and the cost of the lexical index, on real corpora.

`python -m deploy.bench.retrieval_quality --data FOLDER` embeds each corpus, builds a lexical index,
evaluates every mode, and gives the same questions to bm25s. The exit code is 1 if a target is
missed; ``--json FILE`` writes the figures. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from deploy.model.measure import lexical as bm25s
from deploy.model.measure import questions_of
from pipeline.evaluation.evaluate import evaluate
from pipeline.evaluation.options import EvaluateOptions
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from pipeline.maintenance import index
from pipeline.maintenance.options import IndexCommandOptions
from transforms.evaluation.metrics import means
from transforms.index.options import LexicalOptions
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.search.store import Store

MODES = ("dense", "lexical", "hybrid")
SHOWN = ("mrr@10", "success@1", "success@5", "success@20", "ndcg@10")
DEPTH = 100
#: How much worse hybrid search may be than the better of its two parts.
_SLACK = 0.01
#: The least MRR@10 by corpus and mode.
_LEAST = {("squad_dev", "hybrid"): 0.86, ("squad_dev", "lexical"): 0.83}
#: The most that the lexical index may add to the time of embedding, as a share.
_SHARE = 0.10


def measure(corpus: Path, model: str) -> dict[str, Any]:
    """Return metrics by mode and of bm25s, the seconds of embedding and of the lexical index."""
    with tempfile.TemporaryDirectory(prefix="albeam-") as folder:
        passages, store = str(corpus / "passages.parquet"), f"{folder}/store"
        none = LexicalOptions("none")
        started = time.perf_counter()
        embed.run(EmbedOptions((passages,), store, ModelOptions(model), lexical=none))
        embedded = time.perf_counter()
        index.run(store, IndexCommandOptions(None, LexicalOptions()))
        share = (time.perf_counter() - embedded) / (embedded - started)
        found = evaluate(Store.open(store), EvaluateOptions(questions_of(corpus), DEPTH, MODES))
    modes = {mode: means(found.modes[mode].values) for mode in MODES}
    return {
        "questions": len(found.questions),
        "modes": modes | {"bm25s": bm25s(corpus)},
        "embed_seconds": embedded - started,
        "lexical_share": share,
    }


def misses(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each target that is missed."""
    lines = []
    for corpus, figures in found.items():
        reached = {mode: values["mrr@10"] for mode, values in figures["modes"].items()}
        for (name, mode), least in _LEAST.items():
            if name == corpus and reached[mode] < least:
                lines.append(f"{corpus}: {mode} MRR@10 {reached[mode]:.4f}, below {least}")
        better = max(reached["dense"], reached["lexical"])
        if reached["hybrid"] < better - _SLACK:
            lines.append(
                f"{corpus}: hybrid {reached['hybrid']:.4f}, the better part alone {better:.4f}"
            )
        if figures["lexical_share"] > _SHARE:
            lines.append(f"{corpus}: the lexical index adds {figures['lexical_share']:.1%}")
    return lines


def main() -> int:
    """Read the arguments, measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("ALBEAM_DATA") or "../shared/data")
    parser.add_argument("--corpora", nargs="+", default=["squad_dev", "medquad"])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    found = {name: measure(Path(options.data) / name, options.model) for name in options.corpora}
    print("| corpus | mode | " + " | ".join(SHOWN) + " |")
    print("| --- | --- |" + " ---: |" * len(SHOWN))
    for corpus, figures in found.items():
        for mode, values in figures["modes"].items():
            cells = " | ".join(f"{values[metric]:.4f}" for metric in SHOWN)
            print(f"| {corpus} | {mode} | {cells} |")
    for corpus, figures in found.items():
        share, seconds = figures["lexical_share"], figures["embed_seconds"]
        print(f"{corpus}: {seconds:.1f} s to embed, {share:.1%} of that for the lexical index")
    for line in misses(found):
        print(f"missed: {line}")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=1))
    return int(bool(misses(found)))


if __name__ == "__main__":
    raise SystemExit(main())
