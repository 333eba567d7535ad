"""Compare answers with known ones by SQuAD's rules.

Source: the official evaluation script of SQuAD 2.0 (Rajpurkar, Jia and Liang, 2018). Its rules
for questions with answers are those of SQuAD 1.1.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)


def normalized(answer: str) -> str:
    """Return an answer in lower case, without ASCII punctuation, articles and extra spaces."""
    bare = "".join(letter for letter in answer.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, known: Sequence[str]) -> float:
    """Return 1 if the answer is a known one, else 0; without a known answer, "" is right."""
    return max(float(normalized(answer) == normalized(each)) for each in _right_answers(known))


def f1(answer: str, known: Sequence[str]) -> float:
    """Return the best F1 of the answer's words and those of a known answer, from 0 to 1."""
    return max(
        _f1(normalized(answer).split(), normalized(each).split()) for each in _right_answers(known)
    )


def _f1(ours: list[str], theirs: list[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def _right_answers(known: Sequence[str]) -> list[str]:
    return [answer for answer in known if normalized(answer)] or [""]
