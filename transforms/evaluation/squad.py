"""Answers compared with known ones by SQuAD's rules.

Source: the official evaluation script of SQuAD 2.0 (Rajpurkar, Jia and Liang, 2018), whose rules
for questions with answers are those of 1.1.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = frozenset(string.punctuation)


def normalized(answer: str) -> str:
    """Lower case, without ASCII punctuation, English articles and doubled blanks."""
    bare = "".join(letter for letter in answer.lower() if letter not in _PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(answer: str, known: Sequence[str]) -> float:
    """1 where the answer is one of the known ones, else 0; no known answer wants none."""
    return max(float(normalized(answer) == normalized(each)) for each in _wanted(known))


def f1(answer: str, known: Sequence[str]) -> float:
    """The best F1 of the answer's words with those of a known one, from 0 to 1."""
    return max(_f1(normalized(answer).split(), normalized(each).split()) for each in _wanted(known))


def _f1(ours: list[str], theirs: list[str]) -> float:
    if not ours or not theirs:
        return float(ours == theirs)
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def _wanted(known: Sequence[str]) -> list[str]:
    return [answer for answer in known if normalized(answer)] or [""]
