"""Jobs for Dataflow, without credentials: their options and their graphs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import translations
from apache_beam.transforms.environments import DockerEnvironment

from pipeline.cli import main
from pipeline.ingest import watch
from pipeline.ingest.embed_graph import add_embedding
from pipeline.ingest.options import EmbedOptions
from pipeline.ingest.resolve import resolve
from pipeline.runners import dataflow
from pipeline.runners.launch import check_runner, pipeline_options
from pipeline.search import batch_search
from transforms.catalog.layout import SegmentPaths
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.index.vector.plan import EMPTY_CONTEXT
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.survey import survey_input
from transforms.models.options import ModelOptions
from transforms.models.resolve import find_model
from transforms.search.options import SearchOptions
from transforms.storage.input_files import list_inputs
from transforms.streaming.watch import WatchFiles
from transforms.tasks.data.labels import Classes
from transforms.tasks.vector_heads.head_files import write_head
from transforms.tasks.vector_heads.vector_head import VectorHead

WHERE = ("--project", "p", "--region", "europe-west4", "--temp-location", "gs://b/tmp")
GPU = (*WHERE, "--sdk-container-image=eu.gcr.io/p/albeam:1", "--accelerator", "nvidia-l4")
ACCELERATOR = "beam:resources:accelerator:v1"
#: What updates, metrics and snapshots of a running job go by: a change here breaks them.
LABELS = [
    "AllParts", "BuildIndex", "CarryParts", "CommitSnapshot", "EmbedPassages", "ReadParts",
    "ReadParts/Parts", "ReadParts/Read", "ReadParts/Spread", "SplitPassages", "WriteCarried",
    "WriteParts", "WriteParts/Write",
]  # fmt: skip
CHAIN = ("ReadParts/Read", "SplitPassages/", "EmbedPassages/", "WriteParts/Write")


def graph(
    corpus: Path,
    albert: Path,
    folder: Path,
    arguments: tuple[str, ...] = GPU,
    labelled: bool = False,
) -> beam_runner_api_pb2.Pipeline:
    """The proto of the job that embeds a corpus, as the Dataflow runner makes it."""
    options = pipeline_options("dataflow", arguments)
    model = ModelOptions(str(albert))
    embed_ = EmbedOptions((str(corpus),), str(folder), model)
    if labelled:
        encoder = find_model(model).identity
        weights = np.zeros((2, encoder.dim), np.float32), np.zeros(2, np.float32)
        write_head(str(folder), VectorHead(Classes(("a", "b")), encoder, *weights), "")
        embed_ = replace(embed_, classify=str(folder), label_column="topic")
    job = resolve(embed_)
    plan = plan_parts(survey_input(list_inputs(job.inputs), ColumnOptions()), 80, 1.0)
    pipeline = beam.Pipeline(runner="direct", options=options)
    paths = SegmentPaths(job.store, "s")
    add_embedding(pipeline, job, paths, plan, set(), EMPTY_CONTEXT, "english")
    image = options.view_as(WorkerOptions).sdk_container_image
    environment = DockerEnvironment.from_container_image(image)
    return pipeline.to_runner_api(default_environment=environment)


def hints(proto: beam_runner_api_pb2.Pipeline, environment: str) -> dict[str, bytes]:
    return dict(proto.components.environments[environment].resource_hints)


def leaves(proto: beam_runner_api_pb2.Pipeline) -> dict[str, Any]:
    """The transforms that do something, by label."""
    found = proto.components.transforms.values()
    return {t.unique_name: t for t in found if not t.subtransforms and t.environment_id}


def stages_of(proto: beam_runner_api_pb2.Pipeline) -> set[str]:
    """The names of the fused stages in which the steps from reading to writing run."""
    phases = [translations.annotate_downstream_side_inputs, translations.greedily_fuse]
    _, stages = translations.create_and_optimize_stages(proto, phases, frozenset())
    return {
        stage.name
        for stage in stages
        if any(transform.unique_name.startswith(CHAIN) for transform in stage.transforms)
    }


@pytest.mark.parametrize("labelled", [False, True])
def test_the_accelerator_is_asked_for_from_reading_to_writing_and_nowhere_else(
    corpus: Path, albert: Path, tmp_path: Path, labelled: bool
) -> None:
    proto = graph(corpus, albert, tmp_path, labelled=labelled)
    assert any(label.endswith("/Label/Label") for label in leaves(proto)) == labelled
    wanted = {ACCELERATOR: b"type:nvidia-l4;count:1;install-nvidia-driver"}
    for label, transform in leaves(proto).items():
        inside = label.startswith(("ReadParts/", "SplitPassages", "EmbedPassages", "WriteParts"))
        assert hints(proto, transform.environment_id) == (wanted if inside else {}), label
    images = {e.payload for e in proto.components.environments.values()}
    assert len(images) == 1
    assert b"eu.gcr.io/p/albeam:1" in images.pop()


@pytest.mark.parametrize("labelled", [False, True])
def test_reading_to_writing_is_one_fused_stage_and_would_not_be_with_one_hint(
    corpus: Path, albert: Path, tmp_path: Path, labelled: bool
) -> None:
    proto = graph(corpus, albert, tmp_path, labelled=labelled)
    assert len(stages_of(proto)) == 1
    plain = next(e for e in proto.components.environments if not hints(proto, e))
    for label in leaves(proto):
        if not label.startswith("EmbedPassages"):
            proto.components.transforms[transform_id(proto, label)].environment_id = plain
    assert len(stages_of(proto)) > 1


def transform_id(proto: beam_runner_api_pb2.Pipeline, label: str) -> str:
    return next(k for k, t in proto.components.transforms.items() if t.unique_name == label)


def test_labels_stay_as_they_are(corpus: Path, albert: Path, tmp_path: Path) -> None:
    proto = graph(corpus, albert, tmp_path)
    names = {t.unique_name for t in proto.components.transforms.values()}
    first = {name for name in names if name and "/" not in name and "Applied" not in name}
    assert first == {label for label in LABELS if "/" not in label} - {
        "AllParts", "CarryParts", "WriteCarried"
    }  # fmt: skip
    assert {label for label in LABELS if "/" in label} <= names
    again = graph(corpus, albert, tmp_path)
    assert {t.unique_name for t in again.components.transforms.values()} == names


def test_a_watch_is_a_streaming_job_whose_commits_have_one_key_and_state(
    albert: Path, tmp_path: Path
) -> None:
    options = pipeline_options("dataflow", (*WHERE, "--sdk-container-image=x"), streaming=True)
    assert options.view_as(StandardOptions).streaming
    embed_ = EmbedOptions((str(tmp_path / "in"),), str(tmp_path), ModelOptions(str(albert)))
    pipeline = beam.Pipeline(runner="direct", options=options)
    _ = pipeline | "WatchFiles" >> WatchFiles(*watch.resolve_watch(embed_, 30.0))
    environment = DockerEnvironment.from_container_image("x")
    proto = pipeline.to_runner_api(default_environment=environment)
    assert len(proto.components.environments) == 1
    names = {t.unique_name for t in proto.components.transforms.values()}
    steps = ("Poll", "Finished", "Read", "SplitPassages", "EmbedPassages", "Write", "Commit")
    assert {f"WatchFiles/{step}" for step in steps} <= names
    assert "beam:requirement:pardo:stateful:v1" in proto.requirements


def test_without_an_accelerator_there_is_no_hint_and_one_environment(
    corpus: Path, albert: Path, tmp_path: Path
) -> None:
    proto = graph(corpus, albert, tmp_path, (*WHERE, "--sdk-container-image=x"))
    assert len(proto.components.environments) == 1
    assert not any(hints(proto, name) for name in proto.components.environments)


def test_workers_get_the_package_of_this_checkout_and_no_main_session() -> None:
    options = pipeline_options("dataflow", WHERE)
    setup = options.view_as(SetupOptions)
    assert setup.setup_file == str(Path(__file__).resolve().parents[3] / "setup.py")
    assert not setup.save_main_session
    options = pipeline_options("dataflow", GPU)
    assert options.view_as(SetupOptions).setup_file is None
    assert "no_use_multiple_sdk_containers" in options.view_as(DebugOptions).experiments
    given = (*GPU[:-2], "--dataflow-service-options=worker_accelerator=type:nvidia-l4;count:1")
    cloud = pipeline_options("dataflow", given).view_as(GoogleCloudOptions)
    assert cloud.dataflow_service_options == ["worker_accelerator=type:nvidia-l4;count:1"]
    assert (cloud.project, cloud.region, cloud.temp_location) == ("p", "europe-west4", "gs://b/tmp")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--runner dataflow: needs --project, --region, --temp-location"),
        (WHERE[:4], "--runner dataflow: needs --temp-location"),
        ((*WHERE[:5], "/tmp/x"), "temp_location /tmp/x: is not on Google Cloud Storage"),
        ((*WHERE, "--setup-file", "/none/setup.py"), "setup_file /none/setup.py: does not exist"),
        ((*WHERE, "--accelerator", "nvidia-l4"), "Give --sdk-container-image IMAGE"),
        ((*GPU[:-1], "NVIDIA L4"), "accelerator 'NVIDIA L4': is not the name of a GPU"),
        ((*GPU, "--save-main-session"), "save_main_session: would pickle"),
        ((*GPU, "--accelerator-machine-type", "G2 8"), "'G2 8': is not a machine type"),
        ((*WHERE, "--accelerator-machine-type", "g2-8"), "g2-8: needs an accelerator"),
        ((*GPU, "--dataflow-service-options=worker_accelerator=type:x;count:1"), "Leave one of"),
    ],
)
def test_bad_options_are_reported_before_the_job_starts(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    embed_ = ["embed", "gs://b/*.parquet", "--store", "gs://b/store", "--runner", "dataflow"]
    assert main([*embed_, *arguments]) == 2
    printed = capsys.readouterr().err.strip()
    assert said in printed
    assert "\n" not in printed


def test_without_image_and_checkout_workers_would_lack_albeam() -> None:
    options = PipelineOptions(project="p", region="r", temp_location="gs://b/t")
    with pytest.raises(BadInput) as caught:
        dataflow.check(options)
    assert (caught.value.option, caught.value.problem) == (
        *("Dataflow workers", "would lack albeam"),
    )


def test_the_machines_of_the_accelerator_are_in_its_hint() -> None:
    options = pipeline_options("dataflow", (*GPU, "--accelerator-machine-type=g2-standard-8"))
    assert dataflow.embedding_hints(options) == {
        "accelerator": "type:nvidia-l4;count:1;machine_type:g2-standard-8;install-nvidia-driver"
    }


def test_a_watch_with_an_accelerator_is_refused_with_what_to_give_instead() -> None:
    options = pipeline_options("dataflow", GPU, streaming=True)
    with pytest.raises(BadInput) as caught:
        check_runner("dataflow", options)
    assert (caught.value.option, caught.value.value) == ("accelerator", "nvidia-l4")
    assert "worker_accelerator=type:nvidia-l4" in caught.value.remedy


@pytest.mark.parametrize(
    "command",
    [
        ["watch", "gs://b/in", "--store", "/tmp/store"],
        ["watch", "/tmp/in", "--store", "gs://b/store"],
        ["compact", "/tmp/store"],
        ["index", "/tmp/store", "--index", "flat"],
    ],
)
def test_no_command_gives_dataflow_a_place_on_this_machine(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--runner", "dataflow", *WHERE]) == 2
    assert "where the workers of Dataflow can't read it" in capsys.readouterr().err


def test_no_run_of_questions_gives_dataflow_a_place_on_this_machine() -> None:
    options = SearchOptions("gs://b/store", 1)
    with pytest.raises(BadInput) as caught:
        batch_search.run(options, None, "q.parquet", "gs://b/r.parquet", "dataflow", WHERE)
    assert (caught.value.option, caught.value.value) == ("path", "q.parquet")


def test_local_files_and_misspelt_options_are_refused(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embed_ = ["embed", str(corpus), "--store", "gs://b/store", "--runner", "dataflow", *WHERE]
    assert main(embed_) == 2
    assert "where the workers of Dataflow can't read it" in capsys.readouterr().err
    assert main([*embed_, "--acelerator", "nvidia-l4"]) == 2
    assert "Perhaps you mean --accelerator." in capsys.readouterr().err


def test_the_runner_itself_takes_the_options() -> None:
    pytest.importorskip("google.cloud.dataflow_v1beta3", reason="no albeam[dataflow] here")
    pytest.importorskip("apitools", reason="no albeam[dataflow] here")
    from apache_beam.runners.dataflow.internal import apiclient

    options = pipeline_options("dataflow", GPU)
    assert len(check_runner("dataflow", options)) == 2
    assert apiclient.get_container_image_from_options(options) == "eu.gcr.io/p/albeam:1"
    assert type(beam.Pipeline(runner=dataflow.Runner(), options=options).runner).__name__ == (
        "DataflowRunner"
    )
