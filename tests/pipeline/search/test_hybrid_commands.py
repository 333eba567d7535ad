"""``albeam search``, ``index --lexical`` and ``evaluate --tune`` as a user types them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from transforms.catalog.snapshot import read_snapshot
from transforms.search.store import Store

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
    assert best["dense"] is not None
    assert best["lexical"] > 0
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
    # Where no weight finds anything, none is better, and what was learnt stays.
    lost = {"question_id": "q", "question": "river", "relevant": ["nowhere"]}
    asked.write_text(json.dumps(lost))
    assert main(["evaluate", store, str(asked), "--tune"]) == 2
    assert "finds a relevant document with any weight" in capsys.readouterr().err
    assert read_snapshot(store).weight == learnt["weight"]


ODD = {
    "a stop word": "the",
    "ten thousand words": " ".join(["river"] * 9_000 + [f"word{n}" for n in range(1_000)]),
    "another script": "河流 النهر",
    "query syntax": 'text:"river" OR * [a TO b] (NOT river) ~2 ^3 +x -y \\ {!} /a.*/ \'',
}


@pytest.mark.parametrize("kind", ODD)
def test_questions_of_every_kind_are_answered_alike_on_the_command_line_and_from_python(
    kind: str, odd_store: str, capsys: Output, tmp_path: Path
) -> None:
    question = ODD[kind]
    opened = Store.open(odd_store, dtype="float32")
    file = tmp_path / "questions.txt"
    file.write_text(f"{question}\nriver\n")
    right = {"a stop word": "the-one", "another script": "script"}
    right |= {"ten thousand words": "river", "query syntax": "river"}
    for mode in ("hybrid", "lexical", "dense"):
        [hits] = opened.search([question], 3, mode)
        found = [hit.document_id for hit in hits]
        if mode != "dense":
            assert found[0] == right[kind]
        assert len(found) == 3 or mode == "lexical"
        asked = ["--mode", mode, "-k", "3", "--dtype", "float32", "--json"]
        capsys.readouterr()
        assert main(["search", odd_store, *asked, "--", question]) == 0
        one = json.loads(capsys.readouterr().out)
        assert [hit["document_id"] for hit in one] == found
        assert [hit["score"] for hit in one] == pytest.approx([hit.score for hit in hits], abs=1e-5)
        assert main(["search", odd_store, "--questions", str(file), *asked]) == 0
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert [hit["document_id"] for hit in first] == found
        assert mode == "dense" or second[0]["document_id"] == "river"


@pytest.fixture(scope="module")
def odd_store(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> str:
    """A document for each kind of question, among others."""
    folder = tmp_path_factory.mktemp("odd")
    made = {"the-one": "the", "script": "河流 与 石头 النهر", "river": "river"}
    made |= {f"other-{n}": text for n, text in enumerate(("window", "stone", "music garden"))}
    table = pa.table({"id": list(made), "text": list(made.values())})
    pq.write_table(table, folder / "corpus.parquet")
    url = str(folder / "store")
    command = ["embed", str(folder / "corpus.parquet"), "--store", url, "--model", str(albert)]
    assert main([*command, "--max-tokens", "48"]) == 0
    return url


def test_a_search_without_hits_explains_why(odd_store: str, capsys: Output) -> None:
    capsys.readouterr()
    assert main(["search", odd_store, "zzz", "--mode", "lexical"]) == 0
    assert "no hits: no passage shares a word with the question" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["index", "--language", "german"], "--language german: needs --lexical auto"),
        (["index", "--lexical", "auto", "--language", "klingon"], "--language klingon: "),
        (["search", "river", "--weight", "2"], "--weight 2.0: must lie between 0"),
        (["search", "", "--mode", "dense"], "question 0: is blank"),
        (
            ["search", "x", "--mode", "dense", "--weight", "0"],
            "--weight 0.0: applies to mode hybrid, not to dense",
        ),
        (["search", ""], "question 0: is blank"),
        (
            ["search", "--questions", "{tmp}/blank.jsonl"],
            "blank.jsonl: has a blank question in row 1",
        ),
        (["evaluate", "questions.jsonl", "--tune", "--snapshot", "1"], "--snapshot"),
    ],
)
def test_bad_options_are_reported_in_one_line(
    store: str, capsys: Output, tmp_path: Path, options: list[str], message: str
) -> None:
    (tmp_path / "blank.jsonl").write_text('{"question": "river"}\n{"question": " "}\n')
    command, *rest = (option.format(tmp=tmp_path) for option in options)
    capsys.readouterr()
    assert main([command, store, *rest]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
