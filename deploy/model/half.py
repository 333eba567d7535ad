"""Copy the folder of a trained network with its weights in float16, to ship it.

`python -m deploy.model.half FOLDER OUTPUT` leaves out the records of the training. What computes
with the weights reads them as float32. Run on Linux.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from transforms.errors import BadInput

#: What a folder has besides the weights and the config that belongs to the model.
COPIED = ("README.md", "head.json", "tokenizer_config.json")


def halve(folder: Path, output: Path) -> int:
    """Write the copy; return the bytes of its weights.

    Raises:
        BadInput: the folder holds no such network, a weight is not finite in float16, or the output
            exists.
    """
    file = folder / "model.safetensors"
    for name in (file.name, "config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise BadInput("folder", str(folder), f"has no {name}", "Name a trained network")
    if output.exists():
        raise BadInput("output", str(output), "exists", "Name a new folder")
    with np.errstate(over="ignore"):
        halves = {name: each.astype(np.float16) for name, each in load_file(file).items()}
    for name, each in halves.items():
        if not np.isfinite(each).all():
            problem = f"has {name}, which is not finite in float16"
            raise BadInput("folder", str(folder), problem, "Ship it as it is")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    output.mkdir(parents=True)
    save_file(halves, output / file.name, metadata={"format": "pt"})
    (output / file.name).chmod(0o644)
    words = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    compact = json.dumps(words, ensure_ascii=False, separators=(",", ":"))
    (output / "tokenizer.json").write_text(compact + "\n", encoding="utf-8")
    text = json.dumps(config | {"dtype": "float16"}, indent=2, sort_keys=True)
    (output / "config.json").write_text(text + "\n", encoding="utf-8")
    for name in COPIED:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)
    return (output / file.name).stat().st_size


def main() -> None:
    """Read the arguments, and write the copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    print(f"{given.output}: {halve(given.folder, given.output):,} bytes of weights")


if __name__ == "__main__":
    main()
