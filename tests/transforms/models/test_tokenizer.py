"""Token ids and offsets against transformers' own."""

import io
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece as spm
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
from transformers import AlbertTokenizer, AutoTokenizer, BertTokenizer

from tests.support.models import WORDS, make_model, make_texts, make_tokenizer
from transforms.errors import BadInput
from transforms.models import tokenizer as tokenizer_module
from transforms.models import word_tokens
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.resolve import find_model
from transforms.models.tokenizer import Tokenizer, load_tokenizer
from transforms.models.word_locality import find_locality
from transforms.training.vocabulary import pieces

TINY = Tokenizer(make_tokenizer().backend_tokenizer)
LETTERS = st.characters(exclude_categories=["Cs"])
#: What a split at white space could get wrong.
ODD = st.sampled_from(
    [
        *" \t\n\r\v\f\x00\x01\x1c\x1f\x85\xa0\xad\u1680\u180e\u2003\u2028\u202f\u3000\ufeff\ufffd",
        *("\u200b", "\u200c", "\u200d", "\u2060", "\u0600", "\u0d4e", "\U000110bd", "\U000111c2"),
        *("\u0301", "\u0327", "\u0345", "\u0903", "\u0e33", "\u20dd", "\u3099", "\uff9e", "\ufe0f"),
        *("\xa8", "\xb4", "\u02d8", "\u037a", "\u1fbd", "\u2017", "\u203e", "\ufc5e", "\ufe70"),
        *("\u1100", "\u1161", "\u11a8", "\U0001f1e9", "\U0001f44d", "\U0001f3fd", "\U000e0041"),
        *("``", "''", "\u2581", "\r\n", "  ", "[MASK]", "[mask]", "<unk>", "[CLS]", "<pad>"),
        *("ﬁ", "½", "Ω", "İ", "ß", "Σ", "ς", "Å", "한", "日本", "हिन्दी", "no\xa0break", "e\u0301"),
    ]
)
WORD = st.one_of(st.sampled_from(WORDS), ODD, LETTERS, st.text(LETTERS, max_size=8))
TEXTS = st.lists(st.lists(WORD, max_size=25).map("".join) | st.text(LETTERS, max_size=80))


def train_with_charsmap() -> bytes:
    """A sentencepiece model with the character map of its NFKC rules, as pretrained ALBERT has."""
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS[at:] + WORDS[:at]) for at in range(len(WORDS))]),
        model_writer=model, vocab_size=120, normalization_rule_name="nmt_nfkc", minloglevel=2,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, pad_piece="<pad>", bos_piece="[CLS]",
        eos_piece="[SEP]", control_symbols=["[MASK]"], hard_vocab_limit=False,
    )  # fmt: skip
    return model.getvalue()


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Numbers and contents of a protobuf message's fields that have a length; others end it."""
    stream = io.BytesIO(message)

    def integer() -> int:
        value = shift = 0
        while byte := stream.read(1):
            value |= (byte[0] & 0x7F) << shift
            if byte[0] < 0x80:
                break
            shift += 7
        return value

    while (key := integer()) & 7 == 2:
        yield key >> 3, stream.read(integer())


def pretrained_like(keep_accents: bool) -> Any:
    """A tokenizer with all the steps that transformers gives a pretrained ALBERT."""
    model = train_with_charsmap()
    charsmap = dict(fields(dict(fields(model))[3]))[2]
    assert len(charsmap) > 100_000
    tokenizer = AlbertTokenizer(
        vocab=pieces(model),
        keep_accents=keep_accents,
        _spm_precompiled_charsmap=charsmap,
    )
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence(
        [backend.normalizer, normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.add_special_tokens(
        {"mask_token": AddedToken("[MASK]", lstrip=True, rstrip=False, normalized=False)}
    )
    tokenizer.add_tokens([AddedToken("(", normalized=False), AddedToken("NASA", normalized=True)])
    return tokenizer


def bert_like() -> Any:
    """A WordPiece tokenizer with BERT's steps."""
    spelt = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "##s", "日", "cafe", "x"]
    spelt += [chr(code) for code in range(33, 127)] + [f"##{chr(n)}" for n in range(97, 123)]
    return BertTokenizer(vocab={piece: place for place, piece in enumerate(dict.fromkeys(spelt))})


KINDS: dict[str, Callable[[], Any]] = {
    "tiny": make_tokenizer,
    "shipped": lambda: AutoTokenizer.from_pretrained(
        find_model(ModelOptions(DEFAULT_MODEL)).folder
    ),
    "pretrained-like": lambda: pretrained_like(keep_accents=False),
    "accents": lambda: pretrained_like(keep_accents=True),
    "bert": bert_like,
}


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> tuple[Tokenizer, Any]:
    """A tokenizer and transformers' own of the same kind."""
    make = KINDS[request.param]
    return Tokenizer(make().backend_tokenizer), make()


def assert_same(tokenizer: Tokenizer, reference: Any, texts: list[str]) -> None:
    found = tokenizer.encode(texts)
    assert len(found) == len(texts)
    for text, tokens in zip(texts, found, strict=True):
        expected = reference(text, add_special_tokens=False, return_offsets_mapping=True)
        assert tokens.ids.tolist() == expected["input_ids"], text
        spans = list(zip(tokens.starts.tolist(), tokens.ends.tolist(), strict=True))
        assert spans == expected["offset_mapping"], text


@given(TEXTS)
@settings(deadline=None, max_examples=100)
def test_ids_and_offsets_are_those_of_transformers(
    pair: tuple[Tokenizer, Any], texts: list[str]
) -> None:
    assert_same(*pair, texts)


def test_each_kind_is_tokenized_word_by_word(pair: tuple[Tokenizer, Any]) -> None:
    tokenizer, reference = pair
    texts = ["The river, naïve Straße.\r\n(日本) no\xa0break  cafe\u0301", "", " \n", "river " * 9]
    assert find_locality(reference.backend_tokenizer).obstacle == ""
    before = tokenizer.slow_texts
    assert tokenizer.encode(texts).slow == 0
    assert tokenizer.encode(["river \u0301", "stone", "\u200driver"]).slow == 2
    assert tokenizer.take_slow_texts() == before + 2
    assert tokenizer.take_slow_texts() == 0


def test_framed_ids_are_those_of_transformers_cut_at_the_limit(albert: Path) -> None:
    tokenizer = load_tokenizer(find_model(ModelOptions(str(albert))))
    reference = AutoTokenizer.from_pretrained(albert)
    texts = ["river stone", "", "music " * 50]
    assert tokenizer.encode_framed(texts, 16) == [
        reference(text, truncation=True, max_length=16)["input_ids"] for text in texts
    ]
    assert tokenizer.special_tokens == 2


def test_a_text_that_is_none_is_an_error_that_says_where() -> None:
    buffers = pa.array([b"fine", b"bad \xe9 or \xed\xa0\x80"]).buffers()
    cases = (
        (["fine", "ab\ud800"], "U+D800 at character 2"),
        (["fine", 5], "'5', of type int"),
        (pa.array(["fine", None]), "null"),
        (pa.StringArray.from_buffers(2, *buffers[1:]), "not UTF-8"),
    )
    for texts, problem in cases:
        with pytest.raises(BadInput) as caught:
            TINY.encode(texts)
        assert (caught.value.option, caught.value.value) == ("text", 1)
        assert problem in caught.value.problem
    with pytest.raises(BadInput) as caught:
        TINY.frame_all(["fine"], 2)
    assert (caught.value.option, caught.value.value) == ("max_tokens", 2)
    assert "3" in caught.value.remedy


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "model")
    other = make_tokenizer()
    other.add_tokens([f"extra{number}" for number in range(40)])
    other.save_pretrained(folder)
    with pytest.raises(BadInput) as caught:
        load_tokenizer(find_model(ModelOptions(str(folder))))
    assert (caught.value.option, caught.value.value) == ("model", str(folder))
    assert "word vectors" in caught.value.problem


@pytest.mark.parametrize(
    ("text", "room"),
    [
        ("river stone " * 90_000, 1_100_000),
        ("x" * 100_000, 100_001),
        ("日本" * 50_000 + "é" * 30, 100_001),
        ("\u0301 " + "river\n" * 1_000, 6_000),
    ],
    ids=["million", "word", "wide word", "slow"],
)
def test_a_long_text_has_the_tokens_of_transformers(text: str, room: int) -> None:
    tokenizer, reference = Tokenizer(make_tokenizer().backend_tokenizer), make_tokenizer()
    assert_same(tokenizer, reference, ["stone", text, "", "river x"])
    assert_same(tokenizer, reference, ["river", "x"])
    assert len(tokenizer.encode_framed([text], room)[0]) <= room


def test_empty_texts_have_no_tokens_at_any_place() -> None:
    found = TINY.encode([""] * 10_000)
    assert len(found) == 10_000
    assert len(found.ids) == len(found[9_999].ids) == 0
    assert_same(TINY, make_tokenizer(), ["", "river", "", "", " stone ", "\n", ""])
    assert len(TINY.encode([])) == 0


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(["no", "river", "café stone"]).slice(1),
        pa.array(["river", "café stone"], pa.large_string()),
        pa.array(["river", "café stone"], pa.string_view()),
        pa.chunked_array([["river"], [], ["café stone"]], pa.string()),
        pa.array(["river", "café stone"]).dictionary_encode(),
    ],
    ids=lambda texts: str(texts.type),
)
def test_arrow_strings_of_any_kind_are_texts(texts: pa.Array) -> None:
    expected = TINY.encode(["river", "café stone"])
    found = TINY.encode(texts)
    for name in ("ids", "starts", "ends", "bounds"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert found.ids.dtype == found.starts.dtype == found.ends.dtype == np.int32


def test_words_are_added_again_after_the_cache_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_tokens, "_MOST_WORDS", 5)
    monkeypatch.setattr(tokenizer_module, "_BYTES_AT_ONCE", 40)
    texts = [" ".join(WORDS[at : at + 3]) + " \u0301" * (at % 7 == 0) for at in range(len(WORDS))]
    tokenizer = Tokenizer(make_tokenizer().backend_tokenizer)
    assert_same(tokenizer, make_tokenizer(), [*texts, "", "word" * 30, *texts])
    assert tokenizer.slow_texts >= 2


def test_threads_share_a_tokenizer() -> None:
    texts = make_texts(400)
    expected = TINY.encode(texts)
    shared = Tokenizer(make_tokenizer().backend_tokenizer)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: shared.encode(texts), range(8)):
            assert np.array_equal(found.ids, expected.ids)
            assert np.array_equal(found.starts, expected.starts)


def with_parts(**parts: Any) -> Any:
    backend = make_tokenizer().backend_tokenizer
    for name, part in parts.items():
        setattr(backend, name, part)
    return backend


@pytest.mark.parametrize(
    ("backend", "obstacle"),
    [
        (with_parts(pre_tokenizer=pre_tokenizers.Metaspace()), "pre-tokenizer is Metaspace"),
        (with_parts(pre_tokenizer=pre_tokenizers.ByteLevel()), "pre-tokenizer is ByteLevel"),
        (
            with_parts(
                pre_tokenizer=pre_tokenizers.Sequence(
                    [
                        pre_tokenizers.WhitespaceSplit(),
                        pre_tokenizers.Metaspace(prepend_scheme="first"),
                    ]
                )
            ),
            "pre-tokenizer is WhitespaceSplit and Metaspace",
        ),
        (with_parts(normalizer=normalizers.Replace("r s", "x")), "normalizer replaces"),
        (with_parts(normalizer=normalizers.Strip()), "normalizer is Strip"),
        (with_parts(model=models.BPE({"a": 0}, [])), "model is BPE"),
    ],
)
def test_a_tokenizer_that_looks_over_white_space_tokenizes_whole_texts(
    backend: Any, obstacle: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert obstacle in find_locality(backend).obstacle
    with caplog.at_level(logging.INFO, "transforms"):
        found = Tokenizer(backend).encode(["river stone", "a  b"])
    assert obstacle in caplog.text
    assert found.slow == 2
    assert found[0].ids.tolist() == backend.encode("river stone", add_special_tokens=False).ids


@pytest.mark.parametrize(
    "token",
    [AddedToken("river stone", normalized=False), AddedToken("[X]", lstrip=True, normalized=True)],
)
def test_an_added_token_that_reaches_over_white_space_is_an_obstacle(token: AddedToken) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([token])
    assert "its added token" in find_locality(tokenizer.backend_tokenizer).obstacle
    assert_same(Tokenizer(tokenizer.backend_tokenizer), tokenizer, ["a river stone [X] ", "[x]"])


def test_words_whose_tokens_differ_on_the_probes_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tokenizer_module, "find_locality", lambda _: Everywhere())
    backend = with_parts(normalizer=normalizers.Replace(" s", "x"))
    assert Tokenizer(backend).encode(["a stone"]).slow == 1
    assert "their words' tokens differ" in caplog.text


class Everywhere:
    """A locality that claims too much."""

    obstacle = ""

    def holds(self, word: str) -> bool:
        return True


@pytest.mark.slow
def test_real_texts_have_the_tokens_of_the_backend(data_folder: Path) -> None:
    """At most a tenth and 2,000 of the texts of a column; all if ALBEAM_ALL_TEXTS is set."""
    backend = KINDS["shipped"]().backend_tokenizer
    tokenizer = Tokenizer(backend)
    for corpus, texts in real_texts(data_folder):
        step = 1 if os.environ.get("ALBEAM_ALL_TEXTS") else max(10, len(texts) // 2_000)
        chosen = texts.take(pa.array(range(0, len(texts), step)))
        found = tokenizer.encode(chosen)
        encodings = backend.encode_batch(chosen.to_pylist(), add_special_tokens=False)
        assert np.array_equal(np.diff(found.bounds), [len(each) for each in encodings])
        assert found.ids.tolist() == [token for each in encodings for token in each.ids]
        spans = np.stack([found.starts, found.ends], axis=1)
        assert np.array_equal(spans, [span for each in encodings for span in each.offsets])
        # The scripts of some of its languages have marks at the edges of words.
        if corpus != "xquad":
            assert found.slow <= len(found) // 100 + 3


def real_texts(folder: Path) -> Iterator[tuple[str, pa.Array]]:
    """The columns of text in the Parquet files of corpora, with the names of the corpora."""
    for file in sorted(folder.glob("*/*.parquet")):
        table = pq.read_table(file)
        for name in ("title", "text", "question", "sentence1", "sentence2"):
            if name in table.column_names:
                column = table.column(name).drop_null().cast(pa.large_string())
                yield file.parent.name, column.combine_chunks()
