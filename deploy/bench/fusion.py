"""Compare the weights of a hybrid search on corpora and models: does one default fit them all?

`python -m deploy.bench.fusion --models NAME=FOLDER… --data FOLDER` embeds each corpus with each
model, asks its questions once, and ranks their candidates with each weight. It prints MRR@10 of
both halves, of the default weight, of the best weight, and of the sum without standardization that
albeam 0.1 used. The exit code is 1 if a target is missed. Stores stay in ``--work`` and are used
again. ``--passages`` and ``--questions`` draw samples, and ``--characters`` cuts the passages. Run
on Linux.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.evaluation.tune_weight import WEIGHTS, candidates, reciprocal_ranks
from pipeline.ingest import embed
from pipeline.ingest.options import EmbedOptions
from transforms.evaluation.questions import load_questions
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.search.fusion import Units
from transforms.search.options import DEFAULT_WEIGHT
from transforms.search.spread import Spread
from transforms.search.store import Store

CORPORA = ("squad_dev", "medquad", "fairytale_qa", "selqa", "scitldr")
#: The sum that albeam 0.1 used, and its weight.
_FORMER, _FORMER_WEIGHT = Units(Spread(), 1e-9), 0.6
#: How far the default may be below the best weight, and below the better half.
_SLACK, _WORSE = 0.004, 0.005
#: How far it must be above the better half on the mean of all.
_BETTER = 0.005


@dataclass(frozen=True)
class Sample:
    """How much of a corpus is used; None is all.

    Attributes:
        passages: how many, those with answers first.
        questions: how many.
        characters: how many of each passage.
    """

    passages: int | None = None
    questions: int | None = None
    characters: int | None = None


@dataclass(frozen=True)
class Weighed:
    """MRR@10 of a model on a corpus.

    Attributes:
        corpus, model: their names.
        questions: how many were asked.
        passages: how many the store has.
        deviation: that of the cosines between passages.
        former: of the former sum.
        curve: by the weight of the cosine, for each of `WEIGHTS`.
    """

    corpus: str
    model: str
    questions: int
    passages: int
    deviation: float
    former: float
    curve: tuple[float, ...]

    @property
    def default(self) -> float:
        """Return that of the default weight."""
        return self.curve[int(np.abs(WEIGHTS - DEFAULT_WEIGHT).argmin())]

    @property
    def best(self) -> float:
        """Return that of the best weight."""
        return max(self.curve)

    @property
    def gain(self) -> float:
        """Return how far the default is above the better half."""
        return self.default - max(self.curve[0], self.curve[-1])


def draw(corpus: Path, folder: Path, sample: Sample) -> None:
    """Write a sample of a corpus: passages.parquet and questions.parquet.

    Questions are drawn until their passages are four fifths of those that are wanted, and other
    passages are added.
    """
    passages = pq.read_table(corpus / "passages.parquet", columns=["id", "text"]).to_pylist()
    asked = pq.read_table(
        corpus / "questions.parquet", columns=["question_id", "question", "relevant"]
    ).to_pylist()
    dice = random.Random(0)
    texts = {row["id"]: row["text"][: sample.characters] for row in passages}
    names, most = list(texts), sample.passages or len(texts)
    dice.shuffle(names)
    dice.shuffle(asked)
    kept: set[str] = set()
    chosen = []
    for row in asked[: sample.questions]:
        theirs = kept | {name for name in row["relevant"] if name in texts}
        if len(theirs) > 0.8 * most and sample.passages is not None:
            break
        kept = theirs
        chosen.append(row)
    kept |= set([name for name in names if name not in kept][: max(most - len(kept), 0)])
    rows = [{"id": name, "text": text} for name, text in texts.items() if name in kept]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "passages.parquet")
    pq.write_table(pa.Table.from_pylist(chosen), folder / "questions.parquet")


def weigh(corpus: Path, model: tuple[str, str], work: Path, sample: Sample) -> Weighed:
    """Return the figures of a model, such as ``("e5", "models/e5")``, on a corpus."""
    name, folder = model
    drawn = work / corpus.name
    draw(corpus, drawn, sample)
    url = str(work / f"{corpus.name}-{name}")
    passages = (str(drawn / "passages.parquet"),)
    embed.run(EmbedOptions(passages, url, ModelOptions(folder), mode="sync"))
    store = Store.open(url)
    asked = load_questions(str(drawn / "questions.parquet"))
    units, former = store.ranker.units(), np.array([_FORMER_WEIGHT])
    now, before = [], []
    for question, found in candidates(store, asked):
        now.append(reciprocal_ranks(store, question, found, WEIGHTS, units))
        before.append(reciprocal_ranks(store, question, found, former, _FORMER))
    curve = tuple(float(mean) for mean in np.mean(now, axis=0))
    deviation, mean = units.spread.deviation, float(np.mean(before))
    return Weighed(corpus.name, name, len(asked), store.rows, deviation, mean, curve)


def misses(found: list[Weighed]) -> list[str]:
    """Return a line for each target that is missed."""
    lines = []
    for each in found:
        what = f"{each.corpus}, {each.model}: {each.default:.4f}"
        if each.default < each.best - _SLACK:
            lines.append(f"{what}, {each.best - each.default:.4f} below the best weight")
        if each.gain < -_WORSE:
            lines.append(f"{what}, {-each.gain:.4f} below the better half")
    mean = float(np.mean([each.gain for each in found]))
    if mean < _BETTER:
        lines.append(f"the mean is {mean:+.4f} from the better half")
    return lines


def main() -> int:
    """Read the arguments, measure and print; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=os.environ.get("ALBEAM_DATA") or "../shared/data")
    parser.add_argument("--corpora", nargs="+", default=list(CORPORA))
    parser.add_argument("--models", nargs="+", default=[f"albeam-small={DEFAULT_MODEL}"])
    parser.add_argument("--work", type=Path, default=Path("build/fusion"))
    parser.add_argument("--passages", type=int)
    parser.add_argument("--questions", type=int)
    parser.add_argument("--characters", type=int)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    sample = Sample(options.passages, options.questions, options.characters)
    print(
        "| corpus | model | passages | questions | deviation | words | vectors | before | ", end=""
    )
    print("default | best | its weight | above the better half |")
    print("| --- | --- |" + " ---: |" * 10)
    found = []
    for corpus in options.corpora:
        for model in options.models:
            name, _, folder = model.partition("=")
            each = weigh(Path(options.data) / corpus, (name, folder), options.work, sample)
            found.append(each)
            values = each.curve[0], each.curve[-1], each.former, each.default, each.best
            cells = " | ".join(f"{value:.4f}" for value in values)
            print(f"| {corpus} | {name} | {each.passages:,} | {each.questions:,} ", end="")
            print(f"| {each.deviation:.3f} | {cells} ", end="")
            print(f"| {WEIGHTS[int(np.argmax(each.curve))]:g} | {each.gain:+.4f} |", flush=True)
    lines = misses(found)
    for line in lines:
        print(f"missed: {line}")
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(each) for each in found], indent=1))
    return int(bool(lines))


if __name__ == "__main__":
    raise SystemExit(main())
