"""Packages of npm: fetched once, checked, and unpacked."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from tests.support.raising import raises
from transforms.bundles.packages import Package, fetch, unpack
from transforms.errors import AlbeamError, BadInput


def archive(path: Path) -> bytes:
    """Write the archive of a package, and return it."""
    with tarfile.open(path, "w:gz") as made:
        for name in ("dist/a.mjs", "LICENSE"):
            content = f"the content of {name}".encode()
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return path.read_bytes()


def package(content: bytes) -> Package:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    files = (("dist/a.mjs", "vendor/a.js"), ("LICENSE", "LICENSES/a"))
    return Package("@some/thing", "1.2.3", f"sha512-{digest}", files)


def install_npm(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of the name npm before all others."""
    program = folder / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


def test_npm_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive(tmp_path / "made.tgz")
    script = f'echo "$@" >> {tmp_path}/calls; cp {tmp_path}/made.tgz some-thing-1.2.3.tgz'
    install_npm(tmp_path, script, monkeypatch)
    monkeypatch.setenv("ALBEAM_NPM", str(tmp_path / "kept"))
    for _ in range(2):
        unpack(package(content), tmp_path / "page")
    calls = (tmp_path / "calls").read_text()
    assert calls == "pack --silent --ignore-scripts @some/thing@1.2.3\n"
    assert (tmp_path / "page" / "vendor" / "a.js").read_text() == "the content of dist/a.mjs"
    assert (tmp_path / "page" / "LICENSES" / "a").exists()


def test_another_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALBEAM_NPM", str(tmp_path))
    archive(tmp_path / "some-thing-1.2.3.tgz")
    with raises(AlbeamError, "package") as caught:
        fetch(package(b"another archive"))
    assert "Remove the file" in str(caught.value)


@pytest.mark.parametrize("script", ["echo 'no such version' >&2; exit 1", "exit 0"])
def test_what_npm_does_not_get_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    install_npm(tmp_path, script, monkeypatch)
    monkeypatch.setenv("ALBEAM_NPM", str(tmp_path / "kept"))
    with raises(BadInput, "web") as caught:
        fetch(package(b""))
    assert "ALBEAM_NPM" in str(caught.value)
    assert ("no such version" in str(caught.value)) == ("version" in script)


def test_without_npm_the_remedy_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ALBEAM_NPM", str(tmp_path / "kept"))
    with raises(BadInput, "web") as caught:
        fetch(package(b""))
    assert "Node.js" in str(caught.value)
