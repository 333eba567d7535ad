"""Prism and Flink give what the direct runner gives; and a TaskManager's death changes nothing."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deploy.flink.cluster import Cluster, free_port
from pipeline.ingest import watch
from pipeline.ingest.embed import run
from pipeline.ingest.options import EmbedOptions, WatchCommandOptions
from pipeline.maintenance.verify import run as verify
from pipeline.runners import doctor, flink, flink_checks
from pipeline.runners.findings import Finding
from pipeline.runners.launch import check_runner, make_pipeline, pipeline_options
from tests.end_to_end.test_embed import assert_same_store
from tests.support.engines import flink_args, flink_lib, prism_args
from tests.support.models import make_texts, write_corpus
from tests.support.options import embed_options
from tests.support.raising import raises
from tests.support.stores import live_ids
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.ingest import worker_check
from transforms.models.options import ModelOptions

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.engines,
    # A worker thread that Flink has let go of says so by an exception.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture
def options(tmp_path: Path, corpus: Path, albert: Path) -> EmbedOptions:
    return embed_options(tmp_path / "store", albert, corpus, rows_per_part=60)


@pytest.fixture(scope="module", autouse=True)
def _no_job_server_stays() -> Iterator[None]:
    yield
    flink.stop_servers()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    folder = tmp_path_factory.mktemp("flink")
    with Cluster(flink_lib(), folder, managers=2, slots=2, environment=environment) as started:
        yield started


def on_cluster(cluster: Cluster, args: tuple[str, ...]) -> tuple[str, ...]:
    where = flink.workers_arguments(["EXTERNAL", cluster.workers])
    return (*args, f"--flink-master={cluster.master}", "--parallelism=2", *where)


def test_prism_gives_the_same_store(options: EmbedOptions, tmp_path: Path) -> None:
    run(options)
    other = replace(options, store=str(tmp_path / "other"), runner="prism", beam_args=prism_args())
    summary = run(other)
    assert (summary.parts, summary.model_loads) == (4, 1)
    assert_same_store(options.store, other.store)


def test_embedded_flink_gives_the_same_store_and_appends_to_it(
    options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(options)
    other = replace(
        options,
        store=str(tmp_path / "other"),
        runner="flink",
        beam_args=(*flink_args(monkeypatch), "--flink-master=[local]"),
    )
    summary = run(other)
    assert (summary.documents, summary.parts, summary.model_loads) == (200, 4, 1)
    assert_same_store(options.store, other.store)
    assert "Nothing to do" in run(other).notice


def test_worker_processes_that_flink_starts(
    options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "bin" / "albeam-worker"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pipeline.runners.worker "$@"\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    args = (*flink_args(monkeypatch), "--flink-master=[local]", "--environment_type=PROCESS")
    run(options)
    other = replace(options, store=str(tmp_path / "other"), runner="flink", beam_args=args)
    assert run(other).parts == 4
    assert_same_store(options.store, other.store)


def test_a_worker_s_error_is_one_line(
    options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (*flink_args(monkeypatch), "--flink-master=[local]")
    broken = write_corpus(tmp_path / "broken", list(make_texts(50)))
    file = next(broken.glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[100:400] = bytes(300)
    file.write_bytes(content)
    with pytest.raises(BadInput, match=r"^input file .*/docs-0\.parquet: ") as raised:
        run(replace(options, inputs=(str(broken),), runner="flink", beam_args=args))
    assert "\n" not in str(raised.value)


def test_a_cluster_of_processes_gives_the_same_store(
    options: EmbedOptions, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(options)
    args = on_cluster(cluster, flink_args(monkeypatch))
    assert f"Flink {cluster.ask('overview')['flink-version']}" in " ".join(
        check_runner("flink", pipeline_options("flink", args))
    )
    other = replace(options, store=str(tmp_path / "other"), runner="flink", beam_args=args)
    summary = run(other)
    # A process a TaskManager at most, whatever the slots.
    assert 1 <= summary.model_loads <= 2
    assert_same_store(options.store, other.store)


def test_a_task_manager_that_is_killed_changes_nothing(
    options: EmbedOptions, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = make_texts(4000, seed=5)
    folder = write_corpus(tmp_path / "many", list(texts), shards=3)
    whole = replace(options, inputs=(str(folder),), rows_per_part=20)
    run(whole)
    args = on_cluster(cluster, flink_args(monkeypatch))
    other = replace(whole, store=str(tmp_path / "other"), runner="flink", beam_args=args)
    seen: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            done = len(list(Path(other.store).glob("segments/*/vectors/part-*.json")))
            if done >= 5:
                seen.append(done)
                cluster.kill("taskmanager-0")
                return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        summary = run(other)
    except Exception:
        # The job failed too: the same command resumes its work.
        cluster.wait(1)
        summary = run(other)
        assert summary.parts_found_done >= 5
    finally:
        killer.join()
        if seen:
            cluster.start_manager("taskmanager-0")
            cluster.wait(2)
    assert seen
    assert seen[0] < 200
    assert summary.documents == 4000
    assert verify(other.store).passages == summary.passages
    assert_same_store(whole.store, other.store)


def test_a_watch_resumes_from_a_checkpoint_when_task_managers_are_killed(
    options: EmbedOptions, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    args = (*on_cluster(cluster, flink_args(monkeypatch)), "--checkpointing_interval=1000")
    options = replace(
        options,
        inputs=(str(folder),),
        columns=ColumnOptions(),
        runner="flink",
        beam_args=args,
        rows_per_part=10,
    )
    write_corpus(folder / "a", list(make_texts(40)))
    counts: list[dict[str, int]] = []
    failed: list[BaseException] = []

    def soon(check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not check():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def done() -> int:
        return len(list(Path(options.store).glob("segments/*/vectors/part-*.json")))

    def produce_and_kill() -> None:
        try:
            soon(lambda: Path(options.store, "snapshots", "00000001.json").exists())
            table = pa.table({"id": [f"b{n}" for n in range(2000)], "text": make_texts(2000)})
            (folder / "b").mkdir()
            pq.write_table(table, folder / "b" / "_b.parquet")
            (folder / "b" / "_b.parquet").rename(folder / "b" / "b.parquet")
            soon(lambda: done() >= 4 + 20)
            # Both: one of them may have no task.
            for number in (0, 1):
                cluster.kill(f"taskmanager-{number}")
            assert done() < 4 + 200
            for number in (0, 1):
                cluster.start_manager(f"taskmanager-{number}")
            soon(lambda: done() == 4 + 200)
            for job in cluster.ask("jobs")["jobs"]:
                if job["status"] == "RUNNING":
                    counts.append(cluster.ask(f"jobs/{job['id']}/checkpoints")["counts"])
        except BaseException as error:
            failed.append(error)

    producer = threading.Thread(target=produce_and_kill)
    producer.start()
    try:
        summary = watch.run(WatchCommandOptions(options, every=1.0, until_idle=10.0))
    finally:
        producer.join()
        for number in (0, 1):
            if f"taskmanager-{number}" not in cluster.processes:
                cluster.start_manager(f"taskmanager-{number}")
        cluster.wait(2)
    assert not failed
    assert [each["restored"] >= 1 for each in counts] == [True]
    assert (summary.files, summary.entries, summary.rejected) == (2, 2, {})
    assert len(live_ids(options.store)) == 2040
    verify(options.store)


def test_a_missing_engine_is_an_error_before_the_job_starts(
    options: EmbedOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = flink_args(monkeypatch)
    nobody = free_port()

    def refused(option: str, *args: str, named: str) -> None:
        with raises(BadInput, option) as caught:
            run(replace(options, runner="flink", beam_args=(*jar, *args)))
        assert named in f"{caught.value.problem} {caught.value.remedy}"
        assert not Path(options.store).exists()

    refused("Flink cluster", f"--flink-master=localhost:{nobody}", named="REST")
    pool = flink.workers_arguments(["EXTERNAL", f"localhost:{nobody}"])
    refused("worker pool", "--flink-master=[local]", *pool, named="worker_pool_main")
    refused("Java", "--job_server_java_launcher=/no/java", named="can't be run")
    monkeypatch.setenv("ALBEAM_JOB_SERVER_VERSION", "2.1.0")
    refused("job server", named="Give the jar")


def test_a_cluster_without_workers_named_is_refused(
    options: EmbedOptions, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = (*flink_args(monkeypatch), f"--flink-master={cluster.master}")
    with raises(BadInput, "Flink cluster") as caught:
        make_pipeline("flink", pipeline_options("flink", args))
    assert "--workers EXTERNAL" in caught.value.remedy


def asked_worker(model: Path, args: tuple[str, ...]) -> Finding:
    """Return what doctor says of a worker of the cluster."""
    found = doctor.run("flink", args, ModelOptions(str(model)))
    [asked] = [each for each in found.findings if each.name == "worker"]
    assert found.works == bool(asked.found)
    return asked


def test_doctor_asks_a_worker(
    cluster: Cluster, albert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = on_cluster(cluster, flink_args(monkeypatch))
    assert f"loads {albert}" in asked_worker(albert, there).found


def test_doctor_names_a_worker_of_another_version(
    cluster: Cluster, albert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = on_cluster(cluster, flink_args(monkeypatch))
    # The sender's albeam goes with the job, and the pool's workers have the one that is installed.
    monkeypatch.setattr(worker_check, "installed_version", lambda: "9.9.9")
    assert "Install albeam 9.9.9 on every worker" in asked_worker(albert, there).remedy


def test_an_old_java_is_refused(tmp_path: Path) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    with raises(BadInput, "Java", 8):
        flink_checks.java_version(str(java))
