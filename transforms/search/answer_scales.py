"""How sure an answer is: the score of its hit and those of the reader, as one probability.

The scores are added with weights, as in BERTserini (Yang et al., End-to-End Open-Domain Question
Answering with BERTserini, NAACL 2019), and a logistic function makes a probability of the sum
(Platt, Probabilistic Outputs for Support Vector Machines, 1999). Both are fitted on questions with
known answers by `transforms.evaluation.answer_fit`, and kept in the reader's folder.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transforms.catalog.manifest_json import convert
from transforms.errors import BadInput, Damaged
from transforms.models.model_files import read_object
from transforms.storage.output_files import write_text

#: The file of a reader's folder that has its scales.
SCALES = "answers.json"
#: The ranking of a scale that leaves the score of the hit out, so that it fits any ranking.
ANY = "any"
_VERSION = 1
_REMEDY = "Remove it, or fit it again with albeam evaluate --calibrate"
#: Beyond, a logistic function is 0 or 1 to the last digit.
_STEEPEST = 700.0


@dataclass(frozen=True)
class Scale:
    """Weights of the scores, and the logistic function of their sum.

    Attributes:
        retrieval: the weight of the hit's score; that of the span's score is 1.
        no_answer: the weight that the score of no answer is taken away with.
        slope: how fast the probability grows with the sum; above 0, so that the order stays.
        offset: the sum of which the probability is 1/2, times minus the slope.
    """

    retrieval: float
    no_answer: float
    slope: float
    offset: float

    def __post_init__(self) -> None:
        """Raise BadInput if a number can't be used."""
        for name, value in vars(self).items():
            if not math.isfinite(value):
                raise BadInput(name, value, "is not finite", _REMEDY)
        for name in ("retrieval", "no_answer", "slope"):
            value = getattr(self, name)
            if value < 0 or (name == "slope" and value == 0):
                raise BadInput(name, value, "is too small", _REMEDY)

    def score(self, retrieval: float, span: float, no_answer: float | None) -> float:
        """Return the sum that answers are compared by; ``no_answer`` is None if it is unknown."""
        return span + self.retrieval * retrieval - self.no_answer * (no_answer or 0.0)

    def probability(self, score: float) -> float:
        """Return the probability that the answer is right, of such a sum."""
        logit = self.slope * score + self.offset
        return 1 / (1 + math.exp(-min(max(logit, -_STEEPEST), _STEEPEST)))


@dataclass(frozen=True)
class Scales:
    """The scales of a reader.

    Attributes:
        version: of the file.
        scales: a scale for each ranking of the hits: the digest of a reranker's weights, or the
            mode of a search without one; and that of `ANY` ranking.
    """

    version: int = _VERSION
    scales: dict[str, Scale] = field(default_factory=dict)

    def of(self, ranking: str) -> Scale | None:
        """Return the scale of a ranking, else that of any; None if nothing was fitted."""
        return self.scales.get(ranking, self.scales.get(ANY))


def read_scales(folder: str, name: str) -> Scales:
    """Return the scales in a reader's folder; none if nothing was fitted.

    Raises:
        BadInput: the file can't be used; ``name`` is the user's name of the reader.
    """
    found = read_object(folder, SCALES, name)
    if not found:
        return Scales()
    try:
        made = convert(found, Scales, SCALES)
    except (Damaged, BadInput) as error:
        problem = f"has an {SCALES} that can't be used: {error.problem}"
        raise BadInput("model", name, problem, _REMEDY) from error
    if made.version != _VERSION:
        problem = f"has an {SCALES} of version {made.version}, and {_VERSION} is known"
        raise BadInput("model", name, problem, "Update albeam, or fit it again")
    return made


def write_scales(folder: str, found: dict[str, Scale], known: Scales) -> None:
    """Write scales into a reader's folder, beside the known ones of other rankings."""
    content: dict[str, Any] = asdict(Scales(_VERSION, known.scales | found))
    write_text(str(Path(folder) / SCALES), json.dumps(content, indent=1) + "\n")
