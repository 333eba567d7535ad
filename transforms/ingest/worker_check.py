"""Check that a worker can do a job: it needs the sender's version of albeam, and the model."""

from collections.abc import Iterator

import apache_beam as beam

from transforms.ingest.embed_passages import AlbertEmbeddingHandler
from transforms.models.options import ModelOptions
from transforms.runtime.version import check_version, installed_version


class _CheckFn(beam.DoFn):
    def __init__(self, model: ModelOptions) -> None:
        self._sender = installed_version()
        self._handler = AlbertEmbeddingHandler(model)

    def process(self, element: None) -> Iterator[None]:
        check_version(self._sender)
        self._handler.load_model()
        yield element


class CheckWorker(beam.PTransform):
    """A job of one element, which fails if the worker has another version or lacks the model."""

    def __init__(self, model: ModelOptions) -> None:
        super().__init__()
        self._model = model

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection[None]:
        """Wire the one step of the check."""
        check = beam.ParDo(_CheckFn(self._model)).with_output_types(None)
        return pbegin | "Start" >> beam.Create([None]) | "Check" >> check
