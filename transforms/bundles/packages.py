"""The packages of npm that a page needs: pinned, checked, and kept in a cache."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from transforms.errors import AlbeamError, BadInput, first_line
from transforms.storage.file_cache import default_folder

_SECONDS = 600


@dataclass(frozen=True)
class Package:
    """A version of a package, and what a page takes of it.

    Attributes:
        name, version: the package.
        integrity: npm's digest of its archive, SHA-512.
        files: ``(path in the package, path in the page)`` pairs.
    """

    name: str
    version: str
    integrity: str
    files: tuple[tuple[str, str], ...]

    @property
    def archive(self) -> str:
        """The name of its archive, as ``npm pack`` writes it."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


ONNXRUNTIME = Package(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    (
        ("dist/ort.wasm.bundle.min.mjs", "vendor/onnxruntime.js"),
        ("dist/ort-wasm-simd-threaded.wasm", "vendor/onnxruntime.wasm"),
        ("README.md", "LICENSES/onnxruntime-web-README.md"),
    ),
)
TOKENIZERS = Package(
    "@huggingface/tokenizers",
    "0.2.0",
    "sha512-LidMHe1FpcSYH4vcSjXooda34pC0M8m1gmDOv7SQi6Iv+ib1zX7J3sHBCC9/3FPCkn2k1b55FneVqMRxrr99pg==",
    (
        ("dist/tokenizers.min.mjs", "vendor/tokenizers.js"),
        ("LICENSE", "LICENSES/huggingface-tokenizers"),
    ),
)
STEMMER = Package(
    "multilingual-stemmer",
    "2.1.1",
    "sha512-fY+XKW/i83Q7YJc2oEmc9zzxfQJaKc5s7Bebae4dx99DsqBeu8hWGNhkj4UvRWuSC/26yj2uGcRTCIvxkxouRQ==",
    (
        ("dist/browser/index.js", "vendor/stemmer.js"),
        ("dist/browser/index_bg.wasm", "vendor/stemmer.wasm"),
        ("LICENSE", "LICENSES/multilingual-stemmer"),
    ),
)
PACKAGES = (ONNXRUNTIME, TOKENIZERS, STEMMER)


def packages_folder() -> Path:
    """Return the folder that keeps archives: ``$ALBEAM_NPM``, else one in albeam's cache."""
    return Path(os.environ.get("ALBEAM_NPM") or default_folder() / "npm")


def fetch(package: Package) -> Path:
    """Return the archive of a package; npm fetches it the first time.

    Raises:
        BadInput: npm is not installed, or does not get it.
        AlbeamError: the archive is not the one that is pinned.
    """
    path = packages_folder() / package.archive
    if not path.is_file():
        _pack(package, path)
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        problem = f"is not {package.name} {package.version}, whose digest is pinned"
        raise AlbeamError("package", str(path), problem, "Remove the file, and run it again")
    return path


def unpack(package: Package, output: Path) -> None:
    """Write the files of a package that a page takes."""
    with tarfile.open(fetch(package)) as archive:
        for inner, outer in package.files:
            source = archive.extractfile(f"package/{inner}")
            assert source is not None, inner
            target = output / outer
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as out:
                shutil.copyfileobj(source, out)


def _pack(package: Package, path: Path) -> None:
    wanted = f"{package.name}@{package.version}"
    remedy = (
        f"Run npm pack {wanted} on a machine that reaches npm's registry, copy {package.archive} "
        "to a folder, and name that in ALBEAM_NPM"
    )
    npm = shutil.which("npm")
    if npm is None:
        problem = f"needs {wanted}, and npm, which fetches it, is not installed"
        raise BadInput("web", None, problem, f"Install Node.js. Or: {remedy}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [npm, "pack", "--silent", "--ignore-scripts", wanted]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        made = Path(folder, package.archive)
        if done.returncode or not made.is_file():
            reason = first_line(RuntimeError(done.stderr.strip() or done.stdout.strip()))
            raise BadInput("web", None, f"npm does not get {wanted}: {reason}", remedy)
        os.replace(made, path)
