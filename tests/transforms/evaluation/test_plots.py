"""Plots are SVG documents that show every metric and every setting."""

from xml.etree import ElementTree

from transforms.evaluation.plots import latency_plot, training_curves

SVG = "{http://www.w3.org/2000/svg}"


def titles(document: str) -> list[str]:
    texts = ElementTree.fromstring(document).iter(f"{SVG}text")
    return [text.text or "" for text in texts if text.get("class") == "title"]


def test_each_metric_of_a_training_has_a_panel_with_a_line() -> None:
    history = [{"step": 0, "score": 0.5}]
    history += [{"step": 10 * n, "loss": 3.0 / n, "score": 0.5 + n / 10} for n in (1, 2, 3)]
    document = training_curves(history)
    assert titles(document) == ["score: 0.5000 to 0.8000", "loss: 3.0000 to 1.0000"]
    lines = ElementTree.fromstring(document).iter(f"{SVG}polyline")
    assert [len((line.get("points") or "").split()) for line in lines] == [4, 3]


def test_a_single_evaluation_is_a_dot() -> None:
    document = training_curves([{"step": 4, "score": 0.5}])
    assert titles(document) == ["score: 0.5000 to 0.5000"]
    assert len(list(ElementTree.fromstring(document).iter(f"{SVG}circle"))) == 1
    assert titles(training_curves([])) == []


def test_each_setting_is_a_point_and_the_chosen_one_is_filled() -> None:
    rows = [
        {"setting": setting, "recall_at_10": recall, "milliseconds": time, "chosen": setting == 4}
        for setting, recall, time in (
            (1, 0.7, 0.1),
            (2, 0.85, 0.15),
            (4, 0.95, 0.13),
            (8, 1.0, 0.4),
        )
    ]
    drawn = ElementTree.fromstring(latency_plot(rows))
    kinds = [circle.get("class") for circle in drawn.iter(f"{SVG}circle")]
    assert kinds == ["dot", "dot", "dot chosen", "dot"]
    [line] = drawn.iter(f"{SVG}polyline")
    # Setting 2 is slower than 4 and finds less.
    assert len((line.get("points") or "").split()) == 3
