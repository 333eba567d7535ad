"""Windows of texts, and batches of windows."""

from __future__ import annotations

import numpy as np

from tests.support.models import make_texts, make_tokenizer
from transforms.models.tokenizer import Tokenizer
from transforms.tasks.networks.batches import EpochBatches, validation_batches
from transforms.tasks.networks.head_network import pooled
from transforms.tasks.networks.windows import cut_windows, window_starts


def tokenizer() -> Tokenizer:
    return Tokenizer(make_tokenizer().backend_tokenizer, 1)


def test_short_texts_are_one_window_as_transformers_tokenizes_them() -> None:
    texts = ["", "river stone", "Über naïve music"]
    windows = cut_windows(tokenizer(), texts, 64, offsets=True)
    expected = make_tokenizer()(texts, return_offsets_mapping=True)
    assert [each.tolist() for each in windows.ids] == expected["input_ids"]
    assert windows.texts.tolist() == [0, 1, 2]
    for found, known in zip(windows.offsets, expected["offset_mapping"], strict=True):
        assert [tuple(each) for each in found.tolist()] == known[1:-1]


def test_windows_cover_a_long_text_and_share_its_weight() -> None:
    text = "river " * 20_000
    windows = cut_windows(tokenizer(), ["music", text], 32, overlap=10)
    assert windows.texts[0] == 0
    assert (windows.texts[1:] == 1).all()
    assert windows.lengths.max() == 32
    whole = cut_windows(tokenizer(), [text], 10**6).ids[0][1:-1]
    again = np.full(len(whole), -1)
    for first, ids in zip(windows.firsts[1:], windows.ids[1:], strict=True):
        again[first : first + len(ids) - 2] = ids[1:-1]
    assert np.array_equal(again, whole)
    assert np.isclose(windows.weights[1:].sum(), 1)


def test_a_text_that_fits_has_one_window() -> None:
    assert list(window_starts(0, 30, 10)) == [0]
    assert list(window_starts(30, 30, 10)) == [0]
    assert list(window_starts(31, 30, 10)) == [0, 20]
    assert list(window_starts(5, 1, 0)) == [0, 1, 2, 3, 4]


def test_batches_cover_each_pass_in_an_order_of_its_own_without_much_padding() -> None:
    windows = cut_windows(tokenizer(), make_texts(400, 3), 128)
    data = EpochBatches(lambda _: windows, 512, 7)
    passes = [data.epoch(number) for number in (0, 1)]
    for made in passes:
        assert sorted(np.concatenate([batch.rows for batch in made])) == list(range(len(windows)))
        sizes = [batch.ids().numel() for batch in made]
        assert max(sizes) <= 512
        assert sum(sizes) < 1.2 * windows.lengths.sum()
    assert not all(
        np.array_equal(one.rows, other.rows) for one, other in zip(*passes, strict=False)
    )
    resumed = data.batches(len(passes[0]) + 2)
    assert np.array_equal(next(resumed).rows, passes[1][2].rows)


def test_windows_of_a_text_are_pooled() -> None:
    logits = np.asarray([[1, 0], [3, 0], [0, 5]], np.float32)
    assert pooled(logits, np.asarray([1, 1, 0])).tolist() == [[0, 5], [2, 0]]
    windows = cut_windows(tokenizer(), make_texts(20, 1), 16)
    rows = np.concatenate([batch.rows for batch in validation_batches(windows, 64)])
    assert sorted(rows) == list(range(len(windows)))
