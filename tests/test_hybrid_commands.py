"""``albeam search``, ``index --lexical`` and ``evaluate --tune`` as a user types them."""

import json
from pathlib import Path

import pytest

from pipeline.cli import main
from transforms.snapshot import read_snapshot

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, corpus: Path, albert: Path) -> str:
    """A store without a lexical index."""
    url = str(tmp_path_factory.mktemp("stores") / "store")
    command = ["embed", str(corpus), "--store", url, "--model", str(albert), "--max-tokens", "48"]
    assert main([*command, "--lexical", "none", "--json"]) == 0
    return url


def test_a_store_gets_a_lexical_index_and_is_then_searched_by_both(
    store: str, capsys: Output, tmp_path: Path, texts: list[str]
) -> None:
    capsys.readouterr()
    questions = tmp_path / "questions.txt"
    questions.write_text("river stone\nwindow\n")
    search = ["search", store, "--questions", str(questions), "-k", "3", "--json"]
    assert main(search) == 0
    said = capsys.readouterr()
    # Once, however many questions there are.
    assert said.err.count("has no lexical index") == 1
    assert f"albeam index {store} --lexical auto" in said.err
    assert [hit["lexical"] for hit in json.loads(said.out.splitlines()[0])] == [None] * 3
    assert main([*search, "--mode", "dense"]) == 0
    assert capsys.readouterr().err == ""
    for mode in ("lexical", "hybrid"):
        output = ["--output", str(tmp_path / "run.parquet")]
        for more in ([], output):
            assert main([*search, "--mode", mode, *more]) == 2
            [line] = capsys.readouterr().err.splitlines()
            assert f"albeam index {store} --lexical auto" in line
    assert main(["index", store, "--lexical", "auto", "--json"]) == 0
    done = capsys.readouterr()
    assert json.loads(done.out)["lexical"] == "english"
    assert "lexical index of" in done.err
    assert main(search) == 0
    said = capsys.readouterr()
    assert said.err == ""
    best = json.loads(said.out.splitlines()[0])[0]
    assert {"rank", "score", "document_id", "dense", "lexical"} < best.keys()
    assert best["score"] == pytest.approx(0.6 * best["dense"] + 0.4, abs=0.4)
    assert main(["search", store, "river", "--fusion", "rrf", "--diverse"]) == 0
    assert "doc-" in capsys.readouterr().out
    # The weight that the questions ask for is kept in a new snapshot.
    asked = tmp_path / "asked.jsonl"
    known = [(number, text) for number, text in enumerate(texts) if len(text.split()) > 5][:20]
    asked.write_text(
        "\n".join(
            json.dumps(
                {
                    "question_id": f"q{number}",
                    "question": " ".join(text.split()[:4]),
                    "relevant": [f"doc-{number:05d}"],
                }
            )
            for number, text in known
        )
    )
    assert main(["evaluate", store, str(asked), "--tune", "--json"]) == 0
    learnt = json.loads(capsys.readouterr().out)
    assert learnt["questions"] == 20
    assert len(learnt["mrr_at_10"]) == 21
    assert learnt["mrr_at_10"][str(learnt["weight"])] == max(learnt["mrr_at_10"].values())
    assert read_snapshot(store, learnt["snapshot"]).weight == learnt["weight"]
    # What was learnt is what evaluate finds with that weight, or without words.
    values = learnt["mrr_at_10"]
    assert main(["evaluate", store, str(asked), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]["mrr@10"]
    assert found == pytest.approx(values[str(learnt["weight"])], abs=1e-4)
    assert main(["evaluate", store, str(asked), "--mode", "dense", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]["mrr@10"]
    assert found == pytest.approx(values["1.0"], abs=1e-4)
    assert main(["evaluate", store, str(asked), "--tune"]) == 0
    assert "learnt from 20 questions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["index", "--language", "german"], "--language is for --lexical auto"),
        (["index", "--lexical", "auto", "--language", "klingon"], "language 'klingon' is not one"),
        (["search", "river", "--weight", "2"], "weight is 2.0; give 0"),
        (["search", "", "--mode", "dense"], "question 0 is blank"),
        (["evaluate", "questions.jsonl", "--tune", "--snapshot", "1"], "leave --snapshot out"),
    ],
)
def test_what_cant_be_done_is_said_in_a_line(
    store: str, capsys: Output, options: list[str], message: str
) -> None:
    command, *rest = options
    capsys.readouterr()
    assert main([command, store, *rest]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
