"""The transform from tables of documents to predictions, by a whole network of any task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa

from transforms.ingest.row_errors import naming_rows
from transforms.models.options import Placement
from transforms.runtime.checked_fn import CheckedFn
from transforms.storage import arrow_coder  # noqa: F401
from transforms.tasks.networks.text_classifier import classifier_of
from transforms.tasks.networks.text_reader import reader_of
from transforms.tasks.networks.text_tagger import tagger_of
from transforms.tasks.prediction.answers import predict_answers
from transforms.tasks.prediction.entities import predict_entities
from transforms.tasks.prediction.predict import predict_texts

#: How the network of each task is loaded, once in a process, and what it makes of a table.
_TASKS: dict[str, tuple[Callable[[str, Placement], Any], Callable[[pa.Table, Any], pa.Table]]] = {
    "classify": (classifier_of, predict_texts),
    "tag": (tagger_of, predict_entities),
    "read": (reader_of, predict_answers),
}


class _PredictTextsFn(CheckedFn):
    def __init__(self, folder: str, task: str, placement: Placement) -> None:
        super().__init__()
        self._folder, self._task, self._placement = folder, task, placement

    def setup(self) -> None:
        super().setup()
        load, _ = _TASKS[self._task]
        self._network = load(self._folder, self._placement)

    def process(self, element: pa.Table) -> Iterator[pa.Table]:
        _, predict = _TASKS[self._task]
        with naming_rows(element, "predicted"):
            yield predict(element, self._network)


class PredictTexts(beam.PTransform):
    """The transform from tables of documents to tables of predictions."""

    def __init__(self, folder: str, task: str, placement: Placement) -> None:
        """Predict with the network in a folder, which every worker must have."""
        super().__init__()
        self._folder, self._task, self._placement = folder, task, placement

    def expand(self, pcoll: beam.PCollection[pa.Table]) -> beam.PCollection[pa.Table]:
        """Wire what the task makes of a table."""
        predict = beam.ParDo(_PredictTextsFn(self._folder, self._task, self._placement))
        return pcoll | "PredictTexts" >> predict.with_output_types(pa.Table)
