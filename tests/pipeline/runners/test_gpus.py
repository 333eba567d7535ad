"""A worker process for each GPU: which GPU it sees, and which runners can do that."""

import json
import os
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DirectOptions, PortableOptions

from pipeline.ingest.options import EmbedOptions
from pipeline.ingest.resolve import new_pipeline
from pipeline.runners import gpus
from pipeline.runners.gpus import DEVICES, VISIBLE, parse_devices, pin_worker
from pipeline.runners.launch import make_pipeline, pipeline_options, run_pipeline
from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.models.options import ModelOptions


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.runtime.devices.gpu_count", lambda: 2)


@pytest.mark.parametrize(
    ("worker", "visible", "expected"),
    [
        ("worker_0", "", "0"),
        ("worker_1", "", "2"),
        ("worker_2", "", "0"),
        ("1-3", "", "2"),
        ("worker_1", "4,5,6", "6"),
        ("worker_0", "GPU-aa, GPU-bb,GPU-cc", "GPU-aa"),
        ("worker", "", None),
    ],
)
def test_workers_take_the_gpus_by_turns(worker: str, visible: str, expected: str | None) -> None:
    environment = {VISIBLE: visible} if visible else {}
    assert pin_worker(environment, (0, 2), worker) == expected
    assert environment.get(VISIBLE) == (expected if expected else None)


def test_without_devices_a_worker_keeps_what_it_sees() -> None:
    environment = {VISIBLE: "1"}
    assert pin_worker(environment, (), "worker_0") is None
    assert environment == {VISIBLE: "1"}


def test_lists_of_gpus() -> None:
    assert parse_devices("0") == (0,)
    assert parse_devices("3,1") == (3, 1)
    for text in ("", "a", "0,", "-1", "0;ls", "0 1", "9999"):
        with raises(BadInput, "devices", text, "not a list"):
            parse_devices(text)
    with raises(BadInput, "devices", "1,1", "twice"):
        parse_devices("1,1")


@pytest.mark.usefixtures("two_gpus")
def test_the_direct_runner_gets_a_process_for_each_gpu() -> None:
    options = pipeline_options("direct", ("--devices", "0,1")).view_as(DirectOptions)
    assert (options.direct_running_mode, options.direct_num_workers) == ("multi_processing", 2)
    more = ("--devices=0,1", "--direct-num-workers=4")
    assert pipeline_options("direct", more).view_as(DirectOptions).direct_num_workers == 4
    plain = pipeline_options("direct", ()).view_as(DirectOptions)
    assert (plain.direct_running_mode, plain.direct_num_workers) == ("in_memory", 1)


def test_threads_keep_a_gpu_busy_unless_the_user_chose_workers() -> None:
    options = pipeline_options("direct", ())
    gpus.keep_busy("direct", options)
    direct = options.view_as(DirectOptions)
    assert (direct.direct_running_mode, direct.direct_num_workers) == ("multi_threading", 3)
    for given in ("--direct-num-workers=2", "--direct-running-mode=multi_processing"):
        chosen = pipeline_options("direct", (given,))
        before = chosen.get_all_options()
        gpus.keep_busy("direct", chosen)
        assert chosen.get_all_options() == before
    options = pipeline_options("prism", ())
    gpus.keep_busy("prism", options)
    assert options.view_as(DirectOptions).direct_num_workers == 1


@pytest.mark.parametrize(("device", "mode"), [("cuda", "multi_threading"), ("cpu", "in_memory")])
def test_a_job_on_a_gpu_runs_in_threads(
    device: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.ingest.resolve.resolve_device", lambda _: device)
    options = EmbedOptions(("corpus",), "store", ModelOptions("albeam-small"))
    direct = new_pipeline(options).options.view_as(DirectOptions)
    assert direct.direct_running_mode == mode


@pytest.mark.parametrize(("count", "known"), [(1, "0 to 0"), (0, "none")])
def test_a_gpu_that_is_not_there_is_refused(
    count: int, known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transforms.runtime.devices.gpu_count", lambda: count)
    with raises(BadInput, "devices", "0,1", known):
        pipeline_options("direct", ("--devices", "0,1"))


def test_flink_s_processes_get_them_in_their_environment() -> None:
    config = json.dumps({"command": "albeam-worker", "env": {"A": "b"}})
    given = ("--environment_type=PROCESS", f"--environment_config={config}", "--devices=0,1")
    options = pipeline_options("flink", given).view_as(PortableOptions)
    assert json.loads(options.environment_config) == {
        "command": "albeam-worker",
        "env": {"A": "b", DEVICES: "0,1"},
    }


@pytest.mark.parametrize("runner", ["flink", "prism", "dataflow"])
def test_other_workers_need_a_gpu_of_their_own(runner: str) -> None:
    with raises(BadInput, "devices", "0,1", "--runner direct") as caught:
        pipeline_options(runner, ("--devices", "0,1"))
    assert gpus.VISIBLE in caught.value.remedy


class _Report(beam.DoFn):
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def process(self, element: int) -> None:
        """Write which GPU this process sees."""
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        Path(self.folder, f"{os.getpid()}").write_text(seen)
        time.sleep(0.05 * (element >= 0))


@pytest.mark.usefixtures("two_gpus")
def test_worker_processes_see_different_gpus(tmp_path: Path) -> None:
    options = pipeline_options("direct", ("--devices", "1,0"))
    pipeline = make_pipeline("direct", options)
    _ = (
        pipeline
        | beam.Create(list(range(40)))
        | beam.Reshuffle()
        | beam.ParDo(_Report(str(tmp_path)))
    )
    run_pipeline(pipeline)
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == ["0", "1"]
