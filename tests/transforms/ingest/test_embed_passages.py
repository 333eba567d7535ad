"""The handlers inside Beam: batched strings, whole tables, one load a process."""

from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.ml.inference.base import PredictionResult, RunInference
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from pipeline.runners.launch import counters
from tests.support.models import make_texts
from transforms import AlbertEmbeddingHandler, EmbedPassages
from transforms.encoder.batching import Batch
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.ingest.embed_passages import embed_passages
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model
from transforms.runtime.counters import COUNTERS
from transforms.storage.schema import REJECT, TOKENS, VECTOR
from transforms.storage.vectors import vectors_to_numpy

TEXTS = make_texts(40, seed=7)


def table(ids: list[list[int] | None]) -> pa.Table:
    reasons = ["null text" if one is None else None for one in ids]
    return pa.table(
        {TOKENS: pa.array(ids, pa.list_(pa.int32())), REJECT: pa.array(reasons, pa.string())}
    )


def test_strings_in_an_inference_of_ones_own(albert: Path) -> None:
    handler = AlbertEmbeddingHandler(str(albert), dtype="float32", max_batch_size=8)
    expected = handler.load_model().encode_texts(TEXTS)

    def check(results: list[PredictionResult]) -> None:
        found = {result.example: result.inference for result in results}
        assert set(found) == set(TEXTS)
        for text, vector in zip(TEXTS, expected, strict=True):
            assert vector.dtype == np.float32
            np.testing.assert_allclose(found[text], vector, atol=2e-6)

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | beam.Create(TEXTS) | RunInference(handler), check)


def test_a_prompt_is_put_before_each_text(albert: Path) -> None:
    handler = AlbertEmbeddingHandler(str(albert), dtype="float32", prompt="music ")
    encoder = handler.load_model()
    result = next(iter(handler.run_inference(["garden"], encoder)))
    np.testing.assert_allclose(result.inference, encoder.encode_texts(["music garden"])[0])


def test_a_text_that_can_not_be_embedded_is_named(albert: Path) -> None:
    handler = AlbertEmbeddingHandler(str(albert), dtype="float32")
    with pytest.raises(BadInput) as caught:
        list(handler.run_inference(["fine", "\udfff"], handler.load_model()))
    assert (caught.value.option, caught.value.value) == ("text", 1)


REJECTED = ["", " \n", None, "\u0301"]


def test_texts_that_embed_rejects_get_no_vector_and_are_counted(albert: Path) -> None:
    handler = AlbertEmbeddingHandler(str(albert), dtype="float32", min_batch_size=3)
    expected = handler.load_model().encode_texts(["river", "stone"])

    def check(results: list[PredictionResult]) -> None:
        found = {result.example: result.inference for result in results}
        assert set(found) == {"river", "stone", *REJECTED}
        assert all(found[text] is None for text in REJECTED)
        np.testing.assert_allclose([found["river"], found["stone"]], expected, atol=2e-6)

    pipeline = beam.Pipeline(runner=FnApiRunner())
    texts = ["river", *REJECTED, "stone"]
    assert_that(pipeline | beam.Create(texts) | RunInference(handler), check)
    result = pipeline.run()
    result.wait_until_finish()
    assert counters(result)["rejects"] == len(REJECTED)


def test_a_prompt_makes_no_text_of_nothing(albert: Path) -> None:
    handler = AlbertEmbeddingHandler(str(albert), dtype="float32", prompt="music ")
    found = list(handler.run_inference(["", "\u0301", "river"], handler.load_model()))
    assert [result.inference is None for result in found] == [True, True, False]


def test_tables_keep_their_rows_and_rejects_get_no_vector(albert: Path) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    ids = encoder.tokenizer.encode_framed(["river", "stone"], 32)
    found = embed_passages(table([ids[0], None, ids[1]]), encoder)
    assert found.column(REJECT).to_pylist() == [None, "null text", None]
    assert found.column(VECTOR).null_count == 1
    vectors = vectors_to_numpy(found.column(VECTOR).take([0, 2]))
    np.testing.assert_allclose(vectors, encoder.encode_texts(["river", "stone"]), atol=1e-6)
    nothing = embed_passages(table([None]), encoder)
    assert nothing.column(VECTOR).null_count == 1


def test_a_row_that_fails_alone_is_rejected(albert: Path) -> None:
    encoder = load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))
    without_holes = encoder._forward

    class Holes:
        def __init__(self, network: object, batch: Batch) -> None:
            self.poisoned = batch.ids[np.cumsum(batch.lengths) - 2] == 8
            self.fetched = without_holes(network, batch)

        def wait(self) -> np.ndarray:
            return np.where(self.poisoned[:, None], np.nan, self.fetched.wait())

    encoder._forward = Holes
    found = embed_passages(table([[2, 7, 3], [2, 8, 3]]), encoder)
    assert found.column(REJECT).to_pylist() == [None, "non-finite vector"]
    handler = AlbertEmbeddingHandler(str(albert), dtype="float32")
    text = next(text for text in "!#$%&'()*+,-./" if encoder.tokenizer.encode([text]).ids[-1] == 8)
    results = list(handler.run_inference(["river", text], encoder))
    assert [result.inference is None for result in results] == [False, True]


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_threads_of_a_process_share_one_load_which_a_counter_proves(
    albert: Path, mode: str
) -> None:
    options = PipelineOptions(direct_num_workers=4, direct_running_mode=mode)
    handler = AlbertEmbeddingHandler(str(albert), device="cpu", dtype="float32").for_tables()
    encoder = handler.load_model()
    tables = [table(encoder.tokenizer.encode_framed([text], 64)) for text in TEXTS]
    loads, passages = COUNTERS.model_loads, COUNTERS.passages
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    embedded = pipeline | beam.Create(tables) | beam.Reshuffle() | EmbedPassages(handler)
    assert embedded.element_type is pa.Table
    result = pipeline.run()
    result.wait_until_finish()
    assert COUNTERS.model_loads - loads == 1
    assert COUNTERS.passages - passages == len(TEXTS)
    found = counters(result)
    assert found["model_loads"] == 1
    assert found["passages"] == len(TEXTS)
    assert found["tokens"] == sum(len(t.column(TOKENS)[0]) for t in tables)
