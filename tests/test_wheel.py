"""The wheel: it contains every file of the packages, and works without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.test_dependencies import declared, project

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "transforms")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
#: Prints the file of each module, without importing more than the packages.
FIND = """\
import importlib.util, sys
for name in sys.argv[1:]:
    spec = importlib.util.find_spec(name)
    print(spec.origin if spec is not None else f"{name} is missing")
"""


def source_files() -> set[str]:
    """Return the paths of all files of the packages."""
    paths = (path for package in PACKAGES for path in (ROOT / package).rglob("*"))
    return {
        path.relative_to(ROOT).as_posix()
        for path in paths
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the checkout, built in a copy, since a build leaves files in its folder."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "checkout"
    ignored = shutil.ignore_patterns("__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    run(sys.executable, "-c", BUILD, str(folder), folder=copy)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the wheel, and with the dependencies of this one.

    So it does not show that a dependency is missing: tests/test_dependencies.py does. The paths of
    a ``.pth`` file do not process the ``.pth`` files in them. So an editable install of the
    checkout is not visible.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(symlinks=True).create(folder)
    programs = folder / "bin"
    python = str(programs / "python")
    install = ["--no-deps", "--no-index", "--disable-pip-version-check", "--quiet", str(wheel)]
    run(sys.executable, "-m", "pip", "--python", python, "install", *install, folder=folder)
    here = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(here), encoding="utf-8")
    return programs


def run(*command: str, folder: Path) -> str:
    """Run a command in a folder without the checkout, and return its output."""
    settings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_contains_every_file_of_the_packages(wheel: Path) -> None:
    files = source_files()
    assert "transforms/models/albeam-small/model.safetensors" in files
    with zipfile.ZipFile(wheel) as content:
        assert files <= set(content.namelist())


def test_the_wheel_requires_what_is_declared(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        [name] = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = BytesParser().parsebytes(content.read(name))
    without = [text for text in metadata.get_all("Requires-Dist", []) if "extra ==" not in text]
    required, extras = declared()
    assert [project(text) for text in without] == [project(text) for text in required]
    assert set(metadata.get_all("Provides-Extra", [])) == set(extras)


def test_an_installed_wheel_works_without_the_checkout(environment: Path, tmp_path: Path) -> None:
    modules = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in source_files()
        if name.endswith(".py")
    )
    origins = run(str(environment / "python"), "-c", FIND, *modules, folder=tmp_path).splitlines()
    assert len(origins) == len(modules)
    outside = [origin for origin in origins if not Path(origin).is_relative_to(environment.parent)]
    assert not outside
    assert "embed" in run(str(environment / "albeam"), "--help", folder=tmp_path)
    worker = run(str(environment / "albeam-worker"), "--help", folder=tmp_path)
    assert "--provision_endpoint" in worker
    demo = run(str(environment / "albeam"), "demo", "--limit", "20", "--json", folder=tmp_path)
    assert json.loads(demo)["summary"]["documents"] == 20
