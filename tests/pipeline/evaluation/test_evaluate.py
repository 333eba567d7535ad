"""``albeam evaluate`` and ``albeam compare``: all modes in one run, files out and in, bad input."""

import io
import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.evaluation import evaluate as evaluating
from pipeline.evaluation.options import EvaluateOptions
from pipeline.ingest.embed import run as embed
from pipeline.ingest.options import EmbedOptions
from tests.support.models import write_corpus
from tests.support.options import embed_options
from transforms.evaluation.run_files import read_run, write_trec
from transforms.search.store import Store

METRICS = ["success@1", "success@5", "success@20", "recall@100", "mrr@10", "ndcg@10"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, texts: list[str], albert: Path) -> str:
    folder = tmp_path_factory.mktemp("evaluate")
    corpus = write_corpus(folder / "corpus", list(texts[:60]))
    url = str(folder / "store")
    embed(embed_options(url, albert, corpus, stride=EmbedOptions.stride))
    return url


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> str:
    """Each question is the beginning of its document, some words too few to be sure."""
    file = tmp_path_factory.mktemp("questions") / "q.jsonl"
    rows = [
        {
            "question_id": f"q{n}",
            "question": " ".join(texts[n].split()[: 1 + n % 4]),
            "relevant": [f"doc-{n:05d}"],
        }
        for n in range(30)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory, store: str, questions: str
) -> tuple[Path, dict[str, object]]:
    """The files and the JSON of a run of all modes and a poor run of another system."""
    folder = tmp_path_factory.mktemp("files")
    poor = {f"q{n}": [("doc-00000", 2.0), (f"doc-{n:05d}", 1.0)] for n in range(1, 30)}
    write_trec(str(folder / "poor.trec"), poor, "poor")
    found = evaluating.evaluate(
        Store.open(store, dtype="float32"),
        EvaluateOptions(
            questions, 20, ("all",), (("poor", str(folder / "poor.trec")),),
            str(folder / "per.parquet"), str(folder / "ours.trec"), timed=True,
        ),
    )  # fmt: skip
    return folder, found.to_dict()


def test_all_modes_in_one_run_print_each_and_one_mode_prints_as_ever(
    store: str, questions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["evaluate", store, questions, "--dtype", "float32", "--json"]
    assert main([*command, "--mode", "dense"]) == 0
    one = json.loads(capsys.readouterr().out)
    checks = ["relevant_ids", "unknown_ids", "cut_questions", "unknown_questions", "notice"]
    assert list(one) == ["questions", "metrics", "intervals", *checks]
    assert list(one["metrics"]) == METRICS
    assert [one[name] for name in checks] == [30, 0, 0, 0, ""]
    assert main([*command, "--modes", "all"]) == 0
    several = json.loads(capsys.readouterr().out)
    assert several["questions"] == one["questions"] == 30
    assert list(several["modes"]) == list(evaluating.modes_of(Store.open(store)))
    assert several["modes"]["dense"] == one["metrics"]
    assert several["intervals"]["dense"] == one["intervals"]
    assert {name: several[name] for name in checks} == {name: one[name] for name in checks}
    for name, value in one["metrics"].items():
        low, high = several["intervals"]["dense"][name]
        assert low <= value <= high
    curve = several["success"]["dense"]
    assert [curve[0], curve[4], curve[19]] == [
        pytest.approx(one["metrics"][f"success@{k}"]) for k in (1, 5, 20)
    ]
    latency = several["latency"]["dense"]
    assert list(latency) == ["encode", "dense", "fetch", "total"]
    assert all(0 < each["p50"] <= each["p95"] <= each["p99"] for each in latency.values())
    assert latency["encode"]["p50"] < latency["total"]["p50"]
    latency = several["latency"]["hybrid"]
    assert list(latency) == ["encode", "dense", "lexical", "fuse", "fetch", "total"]
    parts = sum(latency[stage]["p50"] for stage in ("encode", "dense", "lexical", "fuse"))
    assert 0 < parts < latency["total"]["p95"] * 2
    assert main([*command[:-1], "--modes", "dense"]) == 0
    printed = capsys.readouterr().out
    assert "30 questions" in printed
    assert "milliseconds" in printed


def test_the_ranking_options_of_a_search_are_measured_too(
    store: str, questions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def metrics(*options: str) -> dict[str, float]:
        command = ["evaluate", store, questions, "--dtype", "float32", "--json", *options]
        assert main(command) == 0
        return dict(json.loads(capsys.readouterr().out)["metrics"])

    dense, hybrid = metrics("--mode", "dense"), metrics("--mode", "hybrid")
    assert metrics("--mode", "hybrid", "--weight", "1")["mrr@10"] == pytest.approx(dense["mrr@10"])
    assert metrics("--mode", "hybrid", "--fusion", "rrf") != hybrid
    assert metrics("--where", "document_id = 'nobody'")["success@20"] == 0
    assert main(["evaluate", store, questions, "--weight", "2"]) == 2
    assert "--weight 2.0: must lie between 0" in capsys.readouterr().err
    assert main(["evaluate", store, questions, "--tune", "--weight", "0"]) == 2
    assert "--weight: can't be combined with --tune" in capsys.readouterr().err


def test_each_question_is_a_row_whose_means_are_the_metrics(
    files: tuple[Path, dict[str, object]], questions: str
) -> None:
    folder, report = files
    table = pq.read_table(folder / "per.parquet").to_pandas()
    assert list(table["mode"].unique()) == ["hybrid", "dense", "lexical", "poor"]
    modes = report["modes"]
    assert isinstance(modes, dict)
    for mode, rows in table.groupby("mode"):
        assert len(rows) == 30
        for name, value in modes[mode].items():
            assert rows[name].mean() == pytest.approx(value)
        for row in rows.itertuples():
            places = [d in row.relevant for d in row.document_ids]
            rank = places.index(True) + 1 if True in places else None
            assert (None if row.rank != row.rank else row.rank) == rank
    poor = table[table["mode"] == "poor"].set_index("question_id")
    assert list(poor.loc["q0", "document_ids"]) == []
    assert poor.loc["q5", "rank"] == 2
    assert modes["poor"]["mrr@10"] == pytest.approx(29 / 60)


def test_what_is_written_is_read_as_the_same_run(
    files: tuple[Path, dict[str, object]],
) -> None:
    folder, _ = files
    trec = read_run(str(folder / "ours-dense.trec"))
    parquet = read_run(f"{folder}/per.parquet@dense")
    assert {q: [d for d, _ in hits] for q, hits in trec.items()} == {
        q: [d for d, _ in hits] for q, hits in parquet.items()
    }
    assert len(trec["q3"]) == 20


def test_several_modes_write_a_trec_file_each(tmp_path: Path) -> None:
    assert evaluating._named("a.b/run.trec", "dense") == "a.b/run-dense.trec"
    assert evaluating._named("a.b/run", "dense") == "a.b/run-dense"


def test_compare_counts_wins_and_names_the_largest_differences(
    files: tuple[Path, dict[str, object]],
    store: str,
    questions: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, report = files
    runs = [str(folder / "poor.trec"), f"{folder}/per.parquet@dense"]
    command = ["compare", *runs, "--questions", questions, "-k", "20"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["questions"], found["answered_a"], found["answered_b"]) == (30, 29, 30)
    modes = report["modes"]
    assert isinstance(modes, dict)
    for name, each in found["metrics"].items():
        assert each["a"] == pytest.approx(modes["poor"][name])
        assert each["b"] == pytest.approx(modes["dense"][name])
        assert each["low"] <= each["b"] - each["a"] <= each["high"]
        assert 0 < each["p"] <= 1
    table = pq.read_table(folder / "per.parquet").to_pandas().set_index(["mode", "question_id"])
    apart = table.loc["dense"]["mrr@10"] - table.loc["poor"]["mrr@10"]
    counts = ((apart > 0).sum(), (apart < 0).sum(), (apart == 0).sum())
    assert (found["wins"], found["losses"], found["ties"]) == counts
    assert len(found["largest"]) == min(10, counts[0] + counts[1])
    sizes = [abs(each["difference"]) for each in found["largest"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(apart.abs().max())
    first = found["largest"][0]
    assert first["difference"] == pytest.approx(apart[first["question_id"]])
    # The other way round, and a run of `search --output` in place of the same run as TREC.
    output = str(folder / "run.parquet")
    lines = Path(questions).read_text().splitlines()
    asked = pa.Table.from_pylist([json.loads(line) for line in lines])
    pq.write_table(asked, folder / "q.parquet")
    search = ["search", store, "--questions", str(folder / "q.parquet"), "--output", output]
    assert main([*search, "-k", "20", "--dtype", "float32", "--mode", "dense"]) == 0
    capsys.readouterr()
    again = ["compare", output, runs[0], "--questions", questions, "-k", "20", "--json"]
    assert main(again) == 0
    other = json.loads(capsys.readouterr().out)
    assert (other["wins"], other["losses"]) == (found["losses"], found["wins"])
    assert other["metrics"]["mrr@10"]["a"] == pytest.approx(modes["dense"]["mrr@10"])
    # One of the runs ends after twelve, so that no more is compared.
    short = ["search", store, "--questions", str(folder / "q.parquet"), "--mode", "dense"]
    assert main([*short, "--output", f"{folder}/short.parquet", "-k", "12"]) == 0
    capsys.readouterr()
    assert main(["compare", f"{folder}/short.parquet", output, *again[3:]]) == 0
    few = json.loads(capsys.readouterr().out)["metrics"]
    assert "success@5" in few
    assert "success@20" not in few
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"B wins {found['wins']}, loses {found['losses']}, ties {found['ties']}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-k", "0"], "k 0: must be at least 1"),
        (["-k", "0", "--rerank", "3", "--reranker", "/gone"], "k 0: must be at least 1"),
        (["--modes", "dense,psychic"], "--modes psychic: must be one of"),
        (["--modes", ","], "--modes '': has no mode"),
        (["--modes", "all,dense"], "--modes all,dense: has all"),
        (["--modes", "dense", "--weight", "0.5"], "--weight 0.5: applies to mode hybrid"),
        (["--mode", "lexical", "--fusion", "rrf"], "--fusion rrf: applies to mode hybrid"),
        (["--fusion", "rrf", "--weight", "0.5"], "--weight 0.5: has no effect with fusion rrf"),
        (["--modes", "dense", "--mode", "lexical"], "--modes dense: replaces --mode"),
        (["--colour", "year"], "--colour year: needs --report"),
        (["--tune", "--report", "{tmp}/r.html"], "--report: can't be combined with --tune"),
        (["--tune", "--per-question", "{tmp}/p.parquet"], "--per-question: can't be combined"),
        (["--tune", "--beside", "other={tmp}/ok.trec"], "--beside: can't be combined with --tune"),
        (["--tune", "--rerank", "5", "--reranker", "/gone"], "--rerank: can't be combined"),
        (["--tune", "--snapshot", "1"], "--snapshot 1: can't be combined with --tune"),
        (["--beside", "hybrid={tmp}/ok.trec"], "--beside hybrid: is the name of two"),
        (["--beside", "other={tmp}/empty.trec"], "run file {tmp}/empty.trec: is empty"),
        (["--beside", "other={tmp}/gone.trec"], "run file {tmp}/gone.trec: is missing"),
        (["--beside", "other={tmp}/unknown.trec"], "run file {tmp}/unknown.trec: has 1 question"),
        (["--per-question", "{tmp}/per.csv"], "--per-question {tmp}/per.csv: does not end in"),
        (["--per-question", "{tmp}/ok.trec/p.parquet"], "ok.trec/p.parquet: can't be written"),
        (["--run", "{tmp}"], "--run {tmp}: is a folder"),
        (["--run", "{tmp}/run.parquet"], "--run {tmp}/run.parquet: ends in .parquet"),
    ],
)
def test_bad_options_of_evaluate_are_refused_before_any_search(
    arguments: list[str],
    message: str,
    store: str,
    questions: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "ok.trec").write_text("q1 Q0 d 1 1 t\n")
    (tmp_path / "unknown.trec").write_text("q999 Q0 d 1 1 t\n")
    (tmp_path / "empty.trec").write_text("")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    # The missing model would be the error if it were loaded.
    assert main(["evaluate", store, questions, "--model", "/gone", *given]) == 2
    printed = capsys.readouterr().err.strip()
    assert message.format(tmp=tmp_path) in printed
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"relevant": []}, "{file}: has relevant [] in row 1"),
        ({"relevant": ["a"], "answers": "b"}, "{file}: has answers 'b' in row 1"),
        ({"relevant": ["a"], "question_id": "two words"}, "id 'two words': can't be written"),
        ({"relevant": ["two words"]}, "id 'two words': can't be written to a TREC run"),
        ({"relevant": ["a"], "question_id": "first"}, "{file}: has question_id 'first' again"),
        ({"relevant": ["a"], "question": " "}, "{file}: has a blank question in row 1"),
    ],
)
def test_questions_that_can_not_be_used_are_named(
    row: dict[str, object],
    message: str,
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "q.jsonl"
    first = {"question_id": "first", "question": "x", "relevant": ["a"]}
    rows = [first, {"question_id": "q", "question": "x"} | row]
    file.write_text("\n".join(map(json.dumps, rows)))
    command = ["evaluate", store, str(file), "--model", "/gone"]
    message = message.format(file=f"questions {file}")
    assert main([*command, "--run", str(tmp_path / "r")]) == 2
    assert message in capsys.readouterr().err
    if not message.startswith("id "):
        assert main([*command, "--tune"]) == 2
        assert message in capsys.readouterr().err


def test_compare_takes_the_questions_of_a_run_that_knows_them(
    files: tuple[Path, dict[str, object]],
    questions: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, _ = files
    per, poor = f"{folder}/per.parquet", str(folder / "poor.trec")

    def compared(*words: str) -> dict[str, object]:
        capsys.readouterr()
        assert main(["compare", *words, "-k", "20", "--json"]) == 0
        return dict(json.loads(capsys.readouterr().out))

    for runs in ((poor, f"{per}@dense"), (f"{per}@lexical", f"{per}@hybrid")):
        assert compared(*runs) == compared(*runs, "--questions", questions)
    # Other questions, or the same ones with other right documents, can't be compared.
    table = pq.read_table(per).filter(pc.field("mode") == "dense")
    fewer = str(tmp_path / "fewer.parquet")
    pq.write_table(table.slice(1), fewer)
    other = str(tmp_path / "other.parquet")
    right = pa.array([["elsewhere"]] * table.num_rows, table.schema.field("relevant").type)
    pq.write_table(table.set_column(3, "relevant", right), other)
    for file, count in ((fewer, 1), (other, 30)):
        assert main(["compare", f"{per}@lexical", file]) == 2
        error = capsys.readouterr().err
        assert f"run file {per}@lexical: has other questions than {file}: {count} are" in error
        assert len(error.splitlines()) == 1
    # A run has a question that the other's questions lack.
    assert main(["compare", fewer, f"{poor}"]) == 0
    (tmp_path / "more.trec").write_text("q0 Q0 d 1 1 t\n")
    assert main(["compare", fewer, str(tmp_path / "more.trec")]) == 2
    assert f"has 1 question ids that {fewer} lacks, such as 'q0'" in capsys.readouterr().err
    assert main(["compare", poor, poor]) == 2
    assert f"run file {poor}: has no relevant documents" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/a", "{tmp}/gone"], "run file {tmp}/gone: is missing"),
        (["{tmp}/a", "{tmp}/empty"], "run file {tmp}/empty: is empty"),
        (["{tmp}/unknown", "{tmp}/a"], "run file {tmp}/unknown: has 1 question ids"),
        (["{tmp}/a", "{tmp}/a", "--metric", "map"], "--metric map: is unknown"),
        (["{tmp}/a", "{tmp}/a", "-k", "5"], "--metric mrr@10: is unknown, or needs more than 5"),
        (["{tmp}/a", "{tmp}/a", "-k", "0"], "k 0: must be at least 1"),
        (["{tmp}/a", "{tmp}/gone.parquet"], "run file {tmp}/gone.parquet: is missing"),
    ],
)
def test_bad_input_of_compare(
    arguments: list[str],
    message: str,
    questions: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a").write_text("q1 Q0 d 1 1 t\n")
    (tmp_path / "unknown").write_text("q999 Q0 d 1 1 t\n")
    (tmp_path / "empty").write_text("")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    assert main(["compare", *given, "--questions", questions]) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err


LONG = "river stone " * 60


def ask(path: Path, *relevant: str, first: str = "river stone") -> str:
    """Write questions of which each has one relevant id; ``first`` is the text of the first."""
    rows = [
        {"question_id": f"q{n}", "question": "river stone" if n else first, "relevant": [name]}
        for n, name in enumerate(relevant)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_a_note_counts_relevant_ids_that_the_store_lacks(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ask(tmp_path / "q.jsonl", "1", "2", "doc-00001", "doc-00002")
    told = "2 of 4 relevant ids are not in the store, '1' among them."
    (tmp_path / "other.trec").write_text("q0 Q0 doc-00001 1 2 t\nq0 Q0 3 2 1 t\n")
    others = "1 of 2 document ids of the run other is not in the store: '3'."
    assert main(["evaluate", store, asked, "--mode", "lexical"]) == 0
    assert capsys.readouterr().err == f"note: {told}\n"
    report = tmp_path / "report.html"
    beside = ["--beside", f"other={tmp_path / 'other.trec'}", "--report", str(report)]
    assert main(["evaluate", store, asked, *beside, "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == f"note: {told}\nnote: {others}\n"
    found = json.loads(said.out)
    assert (found["relevant_ids"], found["unknown_ids"]) == (4, 2)
    assert found["notice"] == f"{told} {others}"
    assert "relevant ids are not in the store" in report.read_text(encoding="utf-8")
    where = ["--mode", "lexical", "--where", "document_id < 'doc-00002'", "--json"]
    assert main(["evaluate", store, asked, *where]) == 0
    told = "1 of 4 relevant ids does not meet the condition: 'doc-00002'."
    assert told in json.loads(capsys.readouterr().out)["notice"]


def test_a_weight_is_learnt_with_a_note_or_not_at_all(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ask(tmp_path / "none.jsonl", "1", "2")
    assert main(["evaluate", store, asked, "--tune"]) == 2
    told = "2 of 2 relevant ids are not in the store, '1' among them."
    assert f"with any weight. {told}" in capsys.readouterr().err
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    some = ask(tmp_path / "some.jsonl", "1", *(f"doc-{n:05d}" for n in range(60)))
    assert main(["evaluate", str(copy), some, "--tune", "--json"]) == 0
    said = capsys.readouterr()
    learnt = json.loads(said.out)
    assert (learnt["relevant_ids"], learnt["unknown_ids"]) == (61, 1)
    assert said.err == f"note: {learnt['notice']}\n"
    assert learnt["notice"].startswith("1 of 61 relevant ids is not in the store: '1'")


def test_a_note_counts_questions_that_the_model_reads_in_part(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ask(tmp_path / "q.jsonl", "doc-00001", "doc-00002", first=LONG)
    assert main(["evaluate", store, asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cut_questions"], found["unknown_questions"]) == (1, 0)
    assert found["notice"].startswith("1 of 2 questions, 'q0' the first, is longer than the 48")
    asked = ask(tmp_path / "q.jsonl", "doc-00001", "doc-00002", first="東京は")
    assert main(["evaluate", store, asked]) == 0
    assert "'q0' the first, is mostly unknown to the model" in capsys.readouterr().err
    # Words do not depend on the model.
    assert main(["evaluate", store, asked, "--mode", "lexical"]) == 0
    assert capsys.readouterr().err == ""


def test_compare_tells_that_a_run_has_no_relevant_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ask(tmp_path / "q.jsonl", "doc-1", "doc-2")
    a, b = tmp_path / "a.trec", tmp_path / "b.trec"
    a.write_text("q0 Q0 1 1 2 t\nq1 Q0 2 2 1 t\n")
    b.write_text("q0 Q0 doc-2 1 2 t\nq1 Q0 9 2 1 t\n")
    assert main(["compare", str(a), str(b), "--questions", asked, "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [found[name] for name in ("relevant_ids", "found_ids_a", "found_ids_b")] == [2, 0, 1]
    told = f"None of the 2 relevant ids is in {a}, such as 'doc-1'. Their form may differ."
    assert (found["notice"], said.err) == (told, f"note: {told}\n")
    assert main(["compare", str(b), str(b), "--questions", asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notice"] == ""


def test_questions_come_from_standard_input(
    store: str,
    questions: str,
    files: tuple[Path, dict[str, object]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    content = Path(questions).read_bytes()
    folder, _ = files
    run = str(folder / "poor.trec")

    def printed(*words: str) -> object:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert main([*words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    lexical = ("--mode", "lexical")
    assert printed("evaluate", store, "-", *lexical) == printed(
        "evaluate", store, questions, *lexical
    )
    assert printed("compare", run, run, "--questions", "-") == printed(
        "compare", run, run, "--questions", questions
    )
    report = tmp_path / "report.html"
    printed("evaluate", store, "-", *lexical, "--report", str(report))
    assert "standard input" in report.read_text(encoding="utf-8")
    content = b"river\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert main(["evaluate", store, "-"]) == 2
    assert "'standard input': is neither JSON lines nor Parquet" in capsys.readouterr().err
