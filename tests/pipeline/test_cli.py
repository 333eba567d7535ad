"""The command line: what it prints, and one line with the right exit code for each bad input."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from tests.support.terminal import start

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(embedded_store: Path) -> Path:
    return embedded_store


def test_embed_again_is_a_success_that_does_nothing(
    store: Path, corpus: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in store.rglob("*"))
    arguments = ["embed", str(corpus), "--store", str(store), "--model", str(albert), "--json"]
    exact = ["--device", "cpu", "--dtype", "float32"]
    options = ["--all-columns", "--max-tokens", "48", "--stride", "8", *exact]
    assert main([*arguments, *options]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert "Nothing to do" in summary["notice"]
    assert summary["documents"] == 200
    assert sorted(path for path in store.rglob("*")) == before


def test_search_prints_an_array_with_the_documented_keys(
    store: Path, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = next(text for text in texts if 5 <= len(text.split()) <= 10)
    assert main(["search", str(store), text, "-k", "3", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert list(hits[0]) == [
        "rank", "score", "document_id", "passage", "start", "end", "text", "metadata",
        "dense", "lexical",
    ]  # fmt: skip
    assert hits[0]["document_id"] == f"doc-{texts.index(text):05d}"
    assert (hits[0]["text"], hits[0]["start"], hits[0]["end"]) == (text, 0, len(text))
    assert hits[0]["dense"] == pytest.approx(1, abs=1e-3)
    assert hits[0]["metadata"]["tags"][0].startswith("t")
    assert main(["search", str(store), text]) == 0
    assert hits[0]["document_id"] in capsys.readouterr().out


def test_many_questions_print_one_array_each(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "q.txt").write_text("river stone\n\nwinter market\n")
    # U+2028 ends a line for Python, and is text in JSON.
    lines = '{"question": "river stone"}\r\n{"question": "winter market", "note": "a\u2028b"}\n'
    (tmp_path / "q.jsonl").write_text(lines)
    pq.write_table(pa.table({"question": ["river stone", "winter market"]}), tmp_path / "q.parquet")
    printed = set()
    for name in ("q.txt", "q.jsonl", "q.parquet"):
        assert main(["search", str(store), "--questions", str(tmp_path / name), "--json"]) == 0
        printed.add(capsys.readouterr().out)
    assert len(printed) == 1
    lines = printed.pop().splitlines()
    assert [len(json.loads(line)) for line in lines] == [10, 10]


def test_evaluate_prints_questions_and_metrics(
    store: Path, texts: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [
        json.dumps({"question_id": f"q{n}", "question": texts[n], "relevant": [f"doc-{n:05d}"]})
        for n in range(20)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(lines))
    assert main(["evaluate", str(store), str(tmp_path / "q.jsonl"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["questions"] == 20
    names = ["success@1", "success@5", "success@20", "recall@100", "mrr@10", "ndcg@10"]
    assert list(report["metrics"]) == names
    assert report["metrics"]["success@20"] > 0.9
    assert main(["evaluate", str(store), str(tmp_path / "q.jsonl"), "-k", "10"]) == 0
    assert "recall@100" not in capsys.readouterr().out


def test_snapshots_and_verify(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshots", str(store), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["snapshot"], row["command"], row["documents"]) for row in rows] == [
        (1, "embed", 200)
    ]
    assert main(["snapshots", str(store)]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("snapshot  created")
    assert main(["verify", str(store)]) == 0
    assert "sound" in capsys.readouterr().out
    assert main(["verify", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passages"] == rows[0]["passages"]


def documents(path: Path, **columns: pa.Array) -> str:
    default = {"id": pa.array(["a", "b"]), "text": pa.array(["river", "stone"])}
    table = pa.table({name: value for name, value in (default | columns).items() if len(value)})
    pq.write_table(table, path)
    return str(path)


def garbage(path: Path) -> str:
    path.write_text("no Parquet at all")
    return str(path)


EMPTY = pa.array([], pa.string())
Case = Callable[[Path], list[str]]
BAD_EMBEDS: dict[str, tuple[Case, str]] = {
    "no file": (lambda p: [str(p / "none*.parquet")], "none.*matches no file"),
    "no text": (lambda p: [documents(p / "a.parquet", text=EMPTY)], "no text column 'text'"),
    "no id": (
        lambda p: [documents(p / "a.parquet"), "--id-column", "key"],
        "no id column 'key'; its columns are id, text. .*--id-column",
    ),
    "no metadata": (
        lambda p: [documents(p / "a.parquet"), "--metadata-columns", "lang"],
        "no metadata column 'lang'",
    ),
    "text of a wrong type": (
        lambda p: [documents(p / "a.parquet", text=pa.array([1, 2]))],
        "text column text: .* type int64",
    ),
    "ids of a wrong type": (
        lambda p: [documents(p / "a.parquet", id=pa.array([1.5, 2.5]))],
        "id column id: .* type double",
    ),
    "not Parquet": (
        lambda p: [garbage(p / "x.parquet")],
        "input file .*x.parquet: can't be read as Parquet",
    ),
    "ids twice": (
        lambda p: [documents(p / "a.parquet", id=pa.array(["a", "a"]))],
        "--id-column id: .*more than once: 'a'",
    ),
    "stride": (
        lambda p: [documents(p / "a.parquet"), "--max-tokens", "20", "--stride", "18"],
        "--stride 18: ",
    ),
    "max-tokens": (
        lambda p: [documents(p / "a.parquet"), "--max-tokens", "2", "--stride", "0"],
        "--max-tokens 2: ",
    ),
    "model": (
        lambda p: [documents(p / "a.parquet"), "--model", str(p / "none")],
        "--model .*none: is not a folder",
    ),
    "max-tokens of nothing": (
        lambda p: [documents(p / "a.parquet"), "--max-tokens", "0"],
        "--max-tokens 0: must be at least 1",
    ),
    "blank input": (lambda p: [""], "input '': is blank"),
    "Beam option of a wrong type": (
        lambda p: [documents(p / "a.parquet"), "--direct_num_workers", "many"],
        "Beam options: can't be read: argument --direct_num_workers: invalid int value",
    ),
    "layer": (
        lambda p: [documents(p / "a.parquet"), "--layer", "9"],
        "--layer 9: does not exist in model",
    ),
    "index": (
        lambda p: [documents(p / "a.parquet"), "--index", "Nonsense"],
        "--index Nonsense: is not a FAISS factory",
    ),
    "rows per part": (
        lambda p: [documents(p / "a.parquet"), "--rows-per-part", "0"],
        "--rows-per-part 0: ",
    ),
    "misspelt option": (
        lambda p: [documents(p / "a.parquet"), "--direct_num_worker", "4"],
        "option --direct_num_worker: is unknown .* mean --direct_num_workers",
    ),
    "misspelt option of ours": (
        lambda p: [documents(p / "a.parquet"), "--rows-per-prat", "4"],
        "option --rows-per-prat: is unknown .* mean --rows-per-part",
    ),
    "another runner's option": (
        lambda p: [documents(p / "a.parquet"), "--flink-master", "localhost:1"],
        "option --flink-master: is for --runner flink, not for direct",
    ),
    "runner": (
        lambda p: [documents(p / "a.parquet"), "--runner", "nonesuch"],
        "--runner nonesuch: .* Give one of direct, dataflow, flink, prism",
    ),
    "misspelt runner": (
        lambda p: [documents(p / "a.parquet"), "--runner", "prsm"],
        "--runner prsm: .* mean prism",
    ),
    "protocol": (
        lambda p: ["nonesuch://x/y.parquet"],
        "path nonesuch://x/y.parquet: can't",
    ),
    "reserved name": (
        lambda p: [documents(p / "a.parquet", vector=pa.array([1, 2])), "--all-columns"],
        "metadata column vector: ",
    ),
}


@pytest.mark.parametrize("case", BAD_EMBEDS)
def test_bad_input_is_one_line_exit_code_2_and_leaves_no_store(
    case: str, tmp_path: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make, message = BAD_EMBEDS[case]
    store = tmp_path / "store"
    code = main(["embed", "--store", str(store), "--model", str(albert), *make(tmp_path)])
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert not store.exists()


def test_an_input_without_rows_and_a_store_that_is_a_file(
    tmp_path: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    store = ["--store", str(tmp_path / "store"), "--model", str(albert)]
    assert main(["embed", str(tmp_path / "empty.parquet"), *store]) == 2
    assert "has no rows" in capsys.readouterr().err
    (tmp_path / "file").write_text("I am a file")
    good = documents(tmp_path / "a.parquet")
    store = ["--store", str(tmp_path / "file" / "store"), "--model", str(albert)]
    assert main(["embed", good, *store]) == 2
    assert "can't be written to" in capsys.readouterr().err


def test_ids_that_the_store_has_are_replaced_and_replace_starts_anew(
    tmp_path: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store"), "--model", str(albert), "--json"]
    assert main(["embed", documents(tmp_path / "a.parquet"), *store]) == 0
    more = documents(tmp_path / "b.parquet", id=pa.array(["b", "c"]))
    capsys.readouterr()
    assert main(["embed", more, *store]) == 0
    summary = json.loads(capsys.readouterr().out)
    kinds = ("new", "changed", "metadata", "unchanged", "removed")
    assert [summary[kind] for kind in kinds] == [1, 1, 0, 0, 0]
    assert main(["snapshots", str(tmp_path / "store"), "--json"]) == 0
    assert [row["documents"] for row in json.loads(capsys.readouterr().out)] == [2, 3]
    assert main(["embed", more, *store, "--mode", "replace"]) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "store"), "river", "--json"]) == 0
    found = {hit["document_id"] for hit in json.loads(capsys.readouterr().out)}
    assert found == {"b", "c"}


def test_metadata_of_another_type_than_the_stores_is_refused(
    tmp_path: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--store", str(tmp_path / "store"), "--model", str(albert), "--all-columns"]
    first = documents(tmp_path / "a.parquet", m=pa.array([1, 2]))
    assert main(["embed", first, *store]) == 0
    ids = pa.array(["c", "d"])
    other = documents(tmp_path / "b.parquet", id=ids, m=pa.array(["x", "y"]))
    assert main(["embed", other, *store]) == 2
    message = capsys.readouterr().err
    assert "metadata columns: differ" in message
    assert "int64" in message
    assert "string" in message


def test_metadata_that_json_lacks_is_printed_as_json_all_the_same(
    tmp_path: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = documents(
        tmp_path / "a.parquet",
        number=pa.array([float("nan"), float("inf")]),
        raw=pa.array([b"\xff\x00"] * 2),
        when=pa.array([1, 2], pa.timestamp("ns")),
        views=pa.array([["a"], ["b"]], pa.list_(pa.string_view())),
    )
    store = ["--store", str(tmp_path / "store"), "--model", str(albert)]
    assert main(["embed", path, *store, "--all-columns"]) == 0
    capsys.readouterr()
    assert main(["search", str(tmp_path / "store"), "river", "--json"]) == 0
    hits = {hit["document_id"]: hit["metadata"] for hit in json.loads(capsys.readouterr().out)}
    assert hits["a"] == {
        "number": None,
        "raw": "/wA=",
        "when": "1970-01-01 00:00:00.000000001",
        "views": ["a"],
    }


def test_another_model_is_refused_naming_both(
    tmp_path: Path, albert: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = documents(tmp_path / "a.parquet")
    code = main(["embed", good, "--store", str(store), "--model", str(albert), "--pooling", "cls"])
    assert code == 2
    message = capsys.readouterr().err
    assert "pooling: 'cls', 'mean'" in message
    assert str(albert) in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "{tmp}/none", "x"], "is not a store"),
        (["search", "{store}", " "], "question 0: is blank"),
        (["search", "{store}", "x", "-k", "0"], "-k 0: must be at least 1"),
        (["search", "{store}"], "Give one of QUESTION and --questions FILE"),
        (["search", "{store}", "x", "--snapshot", "9"], "--snapshot 9: is not in"),
        (
            ["search", "{store}", "x", "--model", "{tmp}/gone"],
            "give its present folder with --model",
        ),
        (["search", "{store}", "--questions", "{tmp}/none.txt"], "none.txt: does not exist"),
        (["search", "{store}", "--questions", "{tmp}/q.csv"], "is neither .jsonl nor .parquet"),
        (["evaluate", "{store}", "{tmp}/null.jsonl"], "null.jsonl: has relevant ['a', None]"),
        (["embed", "x.parquet", "--store", " ", "--model", "m"], "--store ' ': is blank"),
        (["embed", "x", "--store", "ftp://h/s", "--model", "m"], "path ftp://h/s: can't be opened"),
        (["evaluate", "{store}", "{tmp}/none.parquet"], "none.parquet: is missing"),
        (["snapshots", "{tmp}/none"], "is not a store"),
        (["verify", "{tmp}/none"], "is not a store"),
        (["embed", "x.parquet", "--store", "{tmp}/s", "--model", ""], "--model '': is blank"),
    ],
)
def test_other_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    question = {"question_id": "q", "question": "x", "relevant": ["a", None]}
    (tmp_path / "null.jsonl").write_text(json.dumps(question))
    given = [argument.format(store=store, tmp=tmp_path) for argument in arguments]
    assert main(given) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed
    assert len(printed.splitlines()) == 1


def test_options_that_argparse_refuses_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments in (
        ["embed"],
        ["search", "s", "q", "-k", "many"],
        ["nonesuch"],
        ["verify"],
        ["search", "s", "--like", "a,"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "s", "--depe"])
    assert stopped.value.code == 2


def test_a_closed_pipe_gives_no_traceback(store: Path) -> None:
    command = f"{sys.executable} -m pipeline snapshots {store} --json | true"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def check_embedding(out: str, err: str, loads: int) -> None:
    """Check that stdout is the summary alone, and that stderr is progress."""
    summary = json.loads(out)
    assert (summary["parts"], summary["model_loads"]) == (4, loads)
    assert summary["tokens"] > summary["passages"] > 0
    for line in err.splitlines():
        assert " of 4 parts" in line or "using" in line, line


def test_progress_does_not_go_to_standard_output(
    tmp_path: Path, corpus: Path, albert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["embed", str(corpus), "--store", str(tmp_path / "s"), "--model", str(albert)]
    assert main([*command, "--json", "--rows-per-part", "50", "--direct_num_workers", "2"]) == 0
    check_embedding(*capsys.readouterr(), loads=1)


@pytest.mark.slow
def test_logs_of_worker_processes_do_not_go_to_standard_output(
    tmp_path: Path, corpus: Path, albert: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "embed", str(corpus), "--json",
         "--store", str(tmp_path / "s"), "--model", str(albert), "--rows-per-part", "50",
         "--direct_num_workers", "2", "--direct_running_mode", "multi_processing"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    check_embedding(done.stdout, done.stderr, loads=2)


def test_a_failure_of_the_system_is_one_line(
    tmp_path: Path, albert: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        store = ["--store", str(tmp_path / "s"), "--model", str(albert)]
        assert main(["embed", str(corpus), *store]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert re.search(r"albeam: Beam job: failed: .*File too large", last), err
    assert not list((tmp_path / "s").rglob("*.tmp*"))
    assert not (tmp_path / "s" / "snapshots").exists()


def test_an_interrupt_is_one_line_and_leaves_no_snapshot(
    tmp_path: Path, albert: Path, corpus: Path
) -> None:
    process = start(
        "embed", str(corpus), "--rows-per-part", "1",
        "--store", str(tmp_path / "s"), "--model", str(albert),
    )  # fmt: skip
    while process.poll() is None and not list(tmp_path.glob("s/segments/*/vectors/*.json")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    lines = [line for line in stderr.splitlines() if " of 200 parts" not in line]
    assert lines == ["albeam: interrupted; run the same command again to continue"]
    assert not (tmp_path / "s" / "snapshots").exists()


def test_training_commands_pass_on_what_is_given_and_leave_the_rest_to_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.training.options import DistillOptions, FinetuneOptions
    from pipeline.training.result import TrainingResult
    from transforms.models.options import DEFAULT_MODEL, ModelOptions
    from transforms.models.resolve import find_folder
    from transforms.training.options import StudentShape

    seen: list[object] = []

    def train(options: object, log: Callable[[str], object]) -> TrainingResult:
        seen.append(options)
        log("a step")
        return TrainingResult("out", 4, 3, 0.5, 2.0)

    monkeypatch.setattr("pipeline.training.distill.distill", train)
    monkeypatch.setattr("pipeline.training.finetune.finetune", train)
    out = tmp_path / "out"
    distill = ["distill", "--teacher", "t", "--texts", "a", "b", "--output", str(out)]
    assert main([*distill, "--layers", "4", "--rate", "0.1", "--resume"]) == 0
    finetune = ["finetune", "--model", "m", "--pairs", "p", "q", "--pairs", "r", "s"]
    assert main([*finetune, "--output", str(out), "--work", "w", "--negatives", "none"]) == 0
    assert seen == [
        DistillOptions(
            teacher=Path("t"), texts=(Path("a"), Path("b")), output=out, work=tmp_path / "out.work",
            shape=StudentShape(layers=4), rate=0.1, resume=True,
        ),
        FinetuneOptions(
            model=Path("m"), pairs=((Path("p"), Path("q")), (Path("r"), Path("s"))),
            output=out, work=Path("w"), negatives="none",
        ),
    ]  # fmt: skip
    assert capsys.readouterr() == ("a step\na step\n", "")
    shipped = Path(find_folder(ModelOptions(DEFAULT_MODEL))[0])
    assert main([*distill, "--student", DEFAULT_MODEL, "--json"]) == 0
    assert main(["finetune", "--model", DEFAULT_MODEL, *finetune[3:], "--output", str(out)]) == 0
    assert [seen[2].student, seen[3].model] == [shipped, shipped]  # type: ignore[attr-defined]
    told = capsys.readouterr()
    assert told.err == "a step\n"
    assert json.loads(told.out.splitlines()[0])["best_step"] == 3


def test_training_on_what_is_not_there_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--output", str(tmp_path / "out")]
    assert main(["distill", "--teacher", str(tmp_path), "--texts", "none.parquet", *out]) == 2
    assert main(["finetune", "--model", str(tmp_path), "--pairs", "a", "b", *out]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["search", "s", "--snapshot", "1", "in two words", "-k", "2"],
        ["search", "s", "in two words", "-k", "2", "--snapshot", "1"],
        ["search", "--snapshot", "1", "-k", "2", "s", "in two words"],
    ],
)
def test_options_are_taken_between_store_and_question(words: list[str]) -> None:
    from pipeline.parser import build_parser

    found = build_parser().parse_args(words)
    assert (found.store, found.question, found.snapshot, found.k) == ("s", "in two words", 1, 2)
    found = build_parser().parse_args(["delete", "s", "--json", "a", "b"])
    assert (found.store, found.ids, found.json) == ("s", ["a", "b"], True)


@pytest.mark.parametrize("module", ["pipeline", "pipeline.cli"])
def test_modules_run_the_command_line(module: str) -> None:
    command = [sys.executable, "-m", module, "verify"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "STORE" in done.stderr
