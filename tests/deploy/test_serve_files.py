"""The files of ``deploy/serve/``: they pass their linters, and agree with the service."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.parser import build_parser
from pipeline.serving.arguments import stores_of
from pipeline.serving.http import status_routes
from pipeline.serving.http.metrics import Metrics
from pipeline.serving.options import Limits, ServeOptions
from tests.deploy.test_deploy import ROOT

FOLDER = ROOT / "deploy" / "serve"
UNIT = FOLDER / "albeam-serve.service"
MANIFESTS = sorted(FOLDER.glob("*.yaml"))
#: The oldest and the newest Kubernetes that the manifests are checked for.
_KUBERNETES = ("1.29.0", "1.37.0")


def read_all(path: Path) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def objects() -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for path in MANIFESTS for each in read_all(path)}


def container() -> dict[str, Any]:
    [found] = objects()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


def parse(words: list[str]) -> Any:
    return build_parser().parse_args(words)


@pytest.mark.parametrize("version", _KUBERNETES)
def test_manifests_meet_the_schema_of_kubernetes(version: str) -> None:
    checker = pytest.importorskip("kubernetes_validate")
    found = objects()
    assert set(found) == {
        "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget",
    }  # fmt: skip
    for each in found.values():
        checker.validate(each, version, strict=True)
    wrong = found["Deployment"] | {"spec": found["Deployment"]["spec"] | {"replica": 2}}
    with pytest.raises(checker.ValidationError):
        checker.validate(wrong, version, strict=True)


def test_the_parts_of_the_deployment_name_each_other() -> None:
    found = objects()
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    target = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert target["name"] == found["Deployment"]["metadata"]["name"]
    [port], [target_port] = container()["ports"], found["Service"]["spec"]["ports"]
    assert target_port["targetPort"] == port["name"]
    volumes = found["Deployment"]["spec"]["template"]["spec"]["volumes"]
    mounts = container()["volumeMounts"]
    assert {each["name"] for each in volumes} == {each["name"] for each in mounts}
    # A drained node may take a pod only if another one stays.
    least = found["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert least > found["PodDisruptionBudget"]["spec"]["maxUnavailable"]


def test_the_deployment_starts_the_service_that_its_probes_ask() -> None:
    given = parse(["serve", *container()["args"]])
    assert list(stores_of(given.stores)) == ["store"]
    assert given.keys is not None
    assert ServeOptions(stores_of(given.stores), host=given.host).is_public
    [port] = container()["ports"]
    assert port["containerPort"] == given.port
    assert any(str(given.keys).startswith(m["mountPath"]) for m in container()["volumeMounts"])
    routes = {route.path for route in status_routes.router.routes}  # type: ignore[attr-defined]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[name]["httpGet"]["path"] in routes
        assert container()[name]["httpGet"]["port"] == port["name"]
    grace = objects()["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    pause = float(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    assert grace >= given.timeout + pause + 5


def test_the_image_starts_the_service_on_the_port_that_it_exposes() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    entry, default = (
        json.loads(found) for found in re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.M)
    )
    assert entry == ["albeam", "serve"]
    given = parse([entry[1], *default])
    assert f"EXPOSE {given.port}\n" in text
    [check] = re.findall(r"urlopen\('(\S+)'", text)
    assert check == f"http://127.0.0.1:{given.port}/health"
    assert "'.[search,serve,s3,gcs]'" in text
    copied = set(re.findall(r"^COPY ((?!--)[\w. ]+) \S+$", text, re.MULTILINE))
    assert all((ROOT / word).exists() for words in copied for word in words.split())
    assert re.search(r"^USER 10001$", text, re.MULTILINE)


def test_image_and_manifests_have_the_version_of_albeam() -> None:
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert version is not None
    for path in (FOLDER / "Dockerfile", FOLDER / "deployment.yaml"):
        found = re.findall(r"\balbeam-serve:([\d.]+)", path.read_text(encoding="utf-8"))
        assert found
        assert set(found) == {version[1]}, path


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    assert "# Verified by systemd-analyze; not run here." in text
    [command] = re.findall(r"^ExecStart=(\S+) serve (.*)$", text, re.MULTILINE)
    given = parse(["serve", *shlex.split(command[1])])
    assert given.host == ServeOptions.host
    [stop] = re.findall(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)
    assert float(stop) >= Limits.seconds + 5
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    copy = tmp_path / UNIT.name
    # The program must be there to be verified.
    copy.write_text(text.replace(command[0], sys.executable), encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    copy.write_text(copy.read_text("utf-8").replace("NoNewPrivileges=", "NoNewPrivilege="))
    done = subprocess.run(
        [analyze, "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert "NoNewPrivilege" in done.stderr


def test_the_dashboard_shows_the_metrics_that_there_are() -> None:
    metrics = Metrics()
    metrics.request("/search", "POST", 200, 0.01)
    metrics.stage("encode", 0.01)
    metrics.batch("encode", 2)
    names = re.findall(r"^# TYPE (albeam_\w+) (\w+)$", metrics.text().decode(), re.MULTILINE)
    there = {name: kind for name, kind in names if not name.endswith("_created")}
    assert len(there) >= 13
    dashboard = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    assert "not run here" in dashboard["description"]
    shown = set()
    for panel in dashboard["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            for name in re.findall(r"albeam_\w+", target["expr"]):
                plain = name if name in there else re.sub(r"_(bucket|sum|count)$", "", name)
                assert plain in there, name
                assert plain == name or there[plain] == "histogram"
                shown.add(plain)
    assert shown == set(there)
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(places)) == len(set(ids)) == len(ids)
