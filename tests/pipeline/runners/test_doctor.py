"""What ``albeam doctor`` finds, and that it fails where the chosen runner can't work."""

import json
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions

from deploy.flink.cluster import free_port
from pipeline.cli import main
from pipeline.runners import flink, flink_checks
from pipeline.runners.launch import pipeline_options
from transforms.errors import BadInput
from transforms.ingest.embed_passages import AlbertEmbeddingHandler
from transforms.runtime import version
from transforms.runtime.version import check_version


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict, str]:
    code = main(["doctor", "--json", *words])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


def test_the_direct_runner_works_here(capsys: pytest.CaptureFixture[str], albert: Path) -> None:
    code, found, _ = doctor(capsys, "--model", str(albert))
    assert (code, found["runner"], found["works"]) == (0, "direct", True)
    names = {each["name"]: each for each in found["findings"]}
    assert "48 dimensions" in names["model"]["found"]
    assert names["FAISS"]["found"].startswith("faiss-")
    # What is missing says what to do.
    assert all(each["found"] or each["remedy"] for each in found["findings"])


def test_a_missing_model_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, found, err = doctor(capsys, "--model", str(tmp_path / "none"))
    assert (code, found["works"]) == (1, False)
    assert err == (
        "albeam: --runner direct: is not ready: model. Follow the remedies of the report.\n"
    )


def test_a_missing_prism_is_reported_with_its_remedy(
    capsys: pytest.CaptureFixture[str], albert: Path
) -> None:
    words = ("--runner", "prism", "--prism-location", "/no/prism", "--model", str(albert))
    code, found, _ = doctor(capsys, *words)
    assert code == 1
    [runner] = [each for each in found["findings"] if each["name"] == "runner prism"]
    assert "go install github.com/apache/beam" in runner["remedy"]


def test_embed_reports_the_same_before_the_job_starts(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path, albert: Path
) -> None:
    store = tmp_path / "store"
    words = ["embed", str(corpus), "--store", str(store), "--model", str(albert)]
    assert main([*words, "--runner", "prism", "--prism-location", "/no/prism"]) == 2
    assert "go install" in capsys.readouterr().err
    assert main([*words, "--runner", "flink", "--workers", "EXTERN", "x:1"]) == 2
    assert "--workers 'EXTERN x:1': must be one of LOOPBACK, EXTERNAL" in capsys.readouterr().err
    assert main([*words, "--runner", "flink", "--flink-mastr", "x:1"]) == 2
    assert "Perhaps you mean --flink_master." in capsys.readouterr().err
    jar = tmp_path / "job-server.jar"
    jar.write_bytes(b"no zip")
    assert main([*words, "--runner", "flink", "--flink-job-server-jar", str(jar)]) == 2
    assert "is not a jar of Beam's job server" in capsys.readouterr().err
    assert not store.exists()


def test_options_of_beam_may_be_spelt_with_hyphens() -> None:
    options = pipeline_options("flink", ("--flink-master=host-a:8081", "--max-parallelism", "7"))
    found = options.view_as(FlinkRunnerOptions)
    assert (found.flink_master, found.max_parallelism) == ("host-a:8081", 7)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["EXTERNAL"], "needs the address of a worker pool"),
        (["EXTERNAL", "nowhere"], "needs the address of a worker pool"),
        (["LOOPBACK", "host:1"], "takes no address"),
        (["NOWHERE"], "must be one of LOOPBACK, EXTERNAL"),
    ],
)
def test_workers_without_meaning_are_refused(words: list[str], problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        flink.workers_arguments(words)
    assert (caught.value.option, caught.value.value) == ("workers", " ".join(words))
    assert problem in caught.value.problem


def test_a_pool_that_does_not_answer_is_named() -> None:
    port = free_port()
    with pytest.raises(BadInput) as caught:
        flink_checks.check_pool(f"localhost:{port}")
    assert (caught.value.option, caught.value.value) == ("worker pool", f"localhost:{port}")
    assert "worker_pool_main" in caught.value.remedy


def test_a_worker_with_another_albeam_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "installed_version", lambda: "9.9.9")
    with pytest.raises(BadInput) as caught:
        check_version("0.0.1")
    assert caught.value.option == "worker"
    assert "9.9.9" in caught.value.problem
    assert caught.value.remedy.startswith("Install albeam 0.0.1 on every worker")


def test_a_worker_without_the_model_says_so(tmp_path: Path) -> None:
    handler = AlbertEmbeddingHandler(str(tmp_path / "gone")).for_tables()
    with pytest.raises(BadInput) as caught:
        handler.load_model()
    assert (caught.value.option, caught.value.value) == ("model", str(tmp_path / "gone"))
    assert "the worker" in caught.value.problem
