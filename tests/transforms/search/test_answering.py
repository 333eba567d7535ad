"""One answer of many spans: which is the best, how sure it is, and where it stands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.models import make_pair_model
from transforms.errors import BadInput
from transforms.models.options import Placement
from transforms.search.answer_scales import ANY, SCALES, Scale, Scales, read_scales, write_scales
from transforms.search.answering import choose, locate
from transforms.search.reader import Answer, Reader, best_answer, read_answers
from transforms.search.results import Hit

EXACT = Placement("cpu", "float32")
SCALE = Scale(retrieval=2.0, no_answer=0.5, slope=1.0, offset=-3.0)


def hit(number: int, score: float, text: str = "A river flows", **metadata: object) -> Hit:
    return Hit(number, score, f"d{number}", 0, 100, 100 + len(text), text, metadata)


def span(text: str, score: float, probability: float | None = None) -> Answer:
    return Answer(text, score, 2, 2 + len(text), -1.0, probability)


def test_a_sum_is_weighted_and_its_probability_grows_with_it() -> None:
    assert SCALE.score(0.5, 3.0, -2.0) == pytest.approx(3 + 2 * 0.5 + 0.5 * 2)
    assert SCALE.score(0.5, 3.0, None) == pytest.approx(4)
    assert SCALE.probability(3.0) == pytest.approx(0.5)
    sums = [-1e6, -5.0, 0.0, 3.1, 9.0, 1e6]
    found = [SCALE.probability(each) for each in sums]
    assert found == sorted(found)
    assert 0 <= found[0] < 1e-9
    assert found[-1] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"slope": 0.0}, {"slope": -1.0}, {"retrieval": -0.1}, {"no_answer": -1.0},
        {"offset": float("nan")}, {"slope": float("inf")},
    ],
)  # fmt: skip
def test_a_scale_that_would_change_the_order_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(BadInput) as caught:
        replace(SCALE, **change)
    assert caught.value.option in change


def test_scales_are_kept_in_the_folder_beside_known_ones(tmp_path: Path) -> None:
    assert read_scales(str(tmp_path), "r") == Scales()
    write_scales(str(tmp_path), {"hybrid": SCALE}, Scales())
    other = replace(SCALE, retrieval=0.0)
    write_scales(str(tmp_path), {ANY: other}, read_scales(str(tmp_path), "r"))
    known = read_scales(str(tmp_path), "r")
    assert known.of("hybrid") == SCALE
    assert known.of("dense") == other
    assert Scales().of("hybrid") is None


@pytest.mark.parametrize(
    "content",
    [
        "[]", "{", '{"version": 2, "scales": {}}', '{"scales": 3}',
        '{"version": 1, "scales": {"any": {"retrieval": 1.0}}}',
        '{"version": 1, "scales": {"any": '
        '{"retrieval": 0.0, "no_answer": 0.0, "slope": -1.0, "offset": 0.0}}}',
    ],
)  # fmt: skip
def test_a_damaged_file_of_scales_is_an_error_that_names_the_reader(
    tmp_path: Path, content: str
) -> None:
    folder = make_pair_model(tmp_path / "m", "read", 2)
    (folder / SCALES).write_text(content)
    with pytest.raises(BadInput) as caught:
        Reader(str(folder), EXACT)
    assert (caught.value.option, caught.value.value) == ("reader", str(folder))
    assert SCALES in caught.value.problem


def test_a_calibrated_reader_weighs_the_hits(tmp_path: Path) -> None:
    folder = make_pair_model(tmp_path / "m", "read", 2)
    hits = [hit(1, 0.1), hit(2, 5.0, "The river stone")]
    plain = read_answers(hits, "river?", Reader(str(folder), EXACT))
    assert [each and each.probability for each in plain] == [None, None]
    content = {
        "version": 1,
        "scales": {"hybrid": vars(SCALE), ANY: vars(replace(SCALE, retrieval=0.0))},
    }
    (folder / SCALES).write_text(json.dumps(content))
    reader = Reader(str(folder), EXACT)
    for ranking, weight in (("hybrid", 2.0), ("dense", 0.0)):
        found = read_answers(hits, "river?", reader, ranking=ranking)
        for each, known, one in zip(hits, plain, found, strict=True):
            assert known is not None
            assert one is not None
            assert (one.text, one.score) == (known.text, known.score)
            assert known.no_answer is not None
            total = known.score + weight * each.score - 0.5 * known.no_answer
            assert one.probability == pytest.approx(SCALE.probability(total))


def test_the_best_answer_is_the_most_probable_one() -> None:
    assert best_answer([span("a", 9.0, 0.2), None, span("b", 1.0, 0.7)]) == 2
    assert best_answer([span("a", 9.0), span("b", 1.0)]) == 0
    assert best_answer([span("a", 1.0, 0.5), span("b", 2.0, 0.5)]) == 1


def test_an_answer_is_located_in_its_document_by_code_points() -> None:
    source = hit(1, 0.5, "A 😀 river", Title=" ", heading="Rivers", URL="https://example.org/r")
    found = locate(source, Answer("😀", 1.0, 2, 3))
    assert (found.start, found.end, found.passage_start) == (102, 103, 100)
    assert (found.title, found.uri) == ("Rivers", "https://example.org/r")
    assert found.passage[found.start - 100 : found.end - 100] == "😀"
    bare = locate(hit(1, 0.5, title=3), Answer("r", 1.0, 2, 3))
    assert (bare.title, bare.uri) == (None, None)


def test_answers_come_best_first_and_each_text_once() -> None:
    hits = [hit(n, 1 / n) for n in range(1, 5)]
    spans = [span("river", 1.0, 0.3), span("River", 2.0, 0.6), None, span("flows", 3.0, 0.4)]
    found = choose("q", hits, spans)
    assert found.answer is not None
    assert (found.answer.text, found.answer.document_id) == ("River", "d2")
    assert [each.text for each in found.others] == ["flows"]
    assert found.hits == hits
    sure = choose("q", hits, spans, threshold=0.5)
    assert (sure.answer, sure.others) == (found.answer, [])
    assert choose("q", hits, spans, threshold=0.7).answer is None
    assert choose("q", hits, [None] * 4, threshold=0.7).answer is None


def test_a_threshold_needs_probabilities() -> None:
    with pytest.raises(BadInput) as caught:
        choose("q", [hit(1, 1.0)], [span("river", 1.0)], threshold=0.5)
    assert caught.value.option == "threshold"
