"""Make the environments of peers that need other versions of libraries than albeam.

`python -m deploy.bench.peer_environments` makes one for each extra ``peer-…`` of setup.py, in
``.venv-peers``. Each takes what it can, PyTorch above all, from the environment that makes it, and
has the rest itself. `albeam bench` runs a peer in its environment.
"""

import argparse
import re
import subprocess
import sysconfig
import venv
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

from pipeline.bench.options import PEERS


def requirements() -> dict[str, list[str]]:
    """Return each environment's name with its requirements, from albeam's metadata."""
    found: dict[str, list[str]] = {}
    for text in requires("albeam") or ():
        requirement = Requirement(text)
        extra = re.search(r'extra == "peer-([\w-]+)"', str(requirement.marker))
        if extra is not None:
            requirement.marker = None
            found.setdefault(extra[1], []).append(str(requirement))
    return found


def make(folder: Path) -> Path:
    """Make an environment that also sees the packages of this one; return its Python."""
    venv.create(folder, with_pip=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin" / "python"


def main() -> None:
    """Make all environments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, default=Path(PEERS), metavar="FOLDER")
    folder = parser.parse_args().peers
    for name, needed in requirements().items():
        python = make(folder / name)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needed], check=True)
        print(f"{folder / name}: {', '.join(needed)}", flush=True)


if __name__ == "__main__":
    main()
