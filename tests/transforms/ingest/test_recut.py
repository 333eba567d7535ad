"""The tokens of a stored passage, against those that the cut gave it."""

import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.models import WORDS, make_tokenizer
from transforms.ingest.options import PassageOptions
from transforms.ingest.recut import StoredPassage, recut
from transforms.ingest.windows import Window, cut
from transforms.models.tokenizer import Tokenizer
from transforms.storage.hashing import text_hashes

TOKENIZER = Tokenizer(make_tokenizer().backend_tokenizer)
PIECES = ("/x9=", "e\u0301", "\u0301", "\ufdfa", "日本", "  ", "\n\n", "\t", "\u200b", " ")
TEXTS = st.lists(st.sampled_from([*WORDS, *PIECES]), min_size=1, max_size=60).map("".join)


def stored(text: str, options: PassageOptions) -> tuple[list[Window], list[StoredPassage], bytes]:
    """The windows of a text, what a store has of them, and the text's hash."""
    tokens = TOKENIZER.encode([options.prompt + text])[0]
    windows = list(cut(tokens, text, TOKENIZER, options))
    passages = [StoredPassage(w.start, w.end, text[w.start : w.end]) for w in windows]
    return windows, passages, text_hashes(pa.array([text]))[0].as_py()


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(1, 12), st.integers(0, 11), st.sampled_from(["", "query: ", "a"]))
def test_the_tokens_of_each_window_are_found_again(
    text: str, room: int, stride: int, prompt: str
) -> None:
    lead = len(TOKENIZER.encode([prompt]).ids)
    options = PassageOptions(room + 2 + lead, min(stride, room - 1), prompt)
    windows, passages, digest = stored(text, options)
    found = [
        recut(passages, number, digest, TOKENIZER, PassageOptions(options.max_tokens, 0, prompt))
        for number in range(len(windows))
    ]
    for window, ids in zip(windows, found, strict=True):
        assert window.ids.tolist() in [each.tolist() for each in ids]


@settings(max_examples=100, deadline=None)
@given(TEXTS, st.integers(4, 12), st.data())
def test_passages_of_another_text_give_no_tokens(text: str, room: int, data: st.DataObject) -> None:
    options = PassageOptions(room + 2, 3)
    windows, passages, digest = stored(text, options)
    assume(len(windows) > 1)
    number = data.draw(st.integers(0, len(windows) - 1))
    place = data.draw(st.integers(0, len(passages[number].text) - 1))
    old = passages[number]
    other = old.text[:place] + "#" + old.text[place + 1 :]
    changed = [*passages]
    changed[number] = StoredPassage(old.start, old.end, other)
    assert recut(changed, number, digest, TOKENIZER, options) == []
    shorter = [*passages]
    shorter[number] = StoredPassage(old.start, old.end, old.text[1:])
    assert recut(shorter, number, digest, TOKENIZER, options) == []
    assert recut(passages, number, b"\0" * 16, TOKENIZER, options) == []


def test_a_long_word_has_one_answer_where_its_passages_overlap() -> None:
    text = "see " + "abcdefghij" * 40
    windows, passages, digest = stored(text, PassageOptions(32, 8))
    assert len(windows) > 10
    for number, window in enumerate(windows):
        [ids] = recut(passages, number, digest, TOKENIZER, PassageOptions(32))
        assert ids.tolist() == window.ids.tolist()
        alone = TOKENIZER.encode_framed([passages[number].text], 32)[0]
        assert (alone == ids.tolist()) == (number == 0)
