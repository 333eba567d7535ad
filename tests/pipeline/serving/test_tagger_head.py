"""A head of the service that finds entities."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline.serving.core.models import load_models
from pipeline.serving.core.service import Service
from pipeline.serving.http.app import make_app
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.http.replies import PredictReply
from pipeline.serving.options import Limits, ServeOptions
from tests.pipeline.tasks.test_tagger_tasks import texts_of, train
from transforms.models.options import Placement
from transforms.search.store import Store
from transforms.tasks.networks.text_tagger import TextTagger


@pytest.mark.slow
def test_a_tagger_gives_the_entities_that_it_finds(
    opened: Store, albert: Path, tmp_path: Path
) -> None:
    folder, exact = str(train(albert, tmp_path) / "tagger"), Placement("cpu", "float32")
    models = load_models(None, None, {"places": folder}, opened, exact)
    service = Service({"main": opened}, models, Limits())
    app: Any = make_app(service, ServeOptions({"main": opened.url}), Metrics())
    texts = texts_of(8, seed=5)
    with TestClient(app, "http://127.0.0.1") as client:
        answer = client.post("/predict/places", json={"input": texts})
    reply = PredictReply.model_validate(answer.json())
    expected = TextTagger(folder, exact).entities(texts)
    assert any(expected)
    for text, prediction, entities in zip(texts, reply.predictions, expected, strict=True):
        assert (prediction.label, prediction.labels, prediction.scores) == (None, [], {})
        found = [(each.start, each.end, each.type, each.text) for each in prediction.entities]
        assert found == [(each.start, each.end, each.type, each.text) for each in entities]
        assert all(text[start:end] == word for start, end, _, word in found)
        for one, other in zip(prediction.entities, entities, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
