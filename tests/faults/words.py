"""``make faults``, third part: every word of a text is found, however a user writes it.

Run as ``python -m tests.faults.words [--seed N] [--words 3000] [--languages english …]``. Each
assigned letter and digit of Unicode is a word, and is inside a word and at its end; further
words are random ones of each block. Each is asked as it is, in other cases, in each normal form
and without accents, in each language. With ALBEAM_DATA all words of the corpus ``xquad`` follow.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.spellings import characters, random_words, spellings
from transforms.catalog.options import LANGUAGES
from transforms.index.lexical.analyzer import Analyzer

#: The languages in which each letter is tried; the others get random words alone.
_WHOLE = ("english", "none", "turkish")


def unfound(analyzer: Analyzer, words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each word with each spelling of it that does not find a text of it."""
    for word in words:
        held = set(analyzer.terms(word))
        for asked in dict.fromkeys(spellings(word)):
            if asked.strip() and not any(held & each.all_terms() for each in analyzer.words(asked)):
                yield word, asked


def words_with(letters: Iterable[str]) -> Iterator[str]:
    """Yield each letter as a word, inside a word, and at the end of one."""
    for letter in letters:
        yield from (letter, f"xa{letter}bx", f"xab{letter}")


def words_of_texts(data: Path) -> list[str]:
    """Return the distinct texts between spaces in the passages of a corpus."""
    import pyarrow.parquet as pq

    texts = pq.read_table(data / "xquad" / "passages.parquet", columns=["text"])["text"]
    return sorted({word for text in texts.to_pylist() for word in text.split()})


def main() -> int:
    """Read the options, run, say how it went; the exit code is 1 if a word is not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--words", type=int, default=3_000)
    parser.add_argument("--languages", nargs="+", default=list(LANGUAGES))
    options = parser.parse_args()
    letters = characters("L", "N")
    data = os.environ.get("ALBEAM_DATA")
    real = words_of_texts(Path(data)) if data else []
    failed = 0
    for place, language in enumerate(options.languages):
        started = time.monotonic()
        words = [*random_words(options.seed + place, options.words)]
        if language in _WHOLE:
            words += [*words_with(letters), *(word for word in real if any(map(str.isalnum, word)))]
        missed = list(unfound(Analyzer(language), words))
        failed += len(missed)
        for word, asked in missed[:10]:
            print(f"{language}: a text of {word!a} is not found by {asked!a}")
        print(
            f"{language}: {len(words)} words, each asked in {len(list(spellings('é')))} ways, in "
            f"{time.monotonic() - started:.0f} seconds: {len(missed)} not found",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
