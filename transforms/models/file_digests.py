"""The digests of a model's files, which its identity names."""

import hashlib
from pathlib import Path

from transforms.errors import BadInput


def weights_files(folder: str) -> list[Path]:
    """Return the files of weights that a model's digest covers, by name."""
    return [path for path in sorted(Path(folder).glob("*.safetensors")) if path.is_file()]


def tokenizer_files(folder: str, name: str) -> list[Path]:
    """Return the files of a model's tokenizer; raises BadInput if there are none."""
    for names in (["tokenizer.json"], ["spiece.model"], ["sentencepiece.bpe.model"], ["vocab.txt"]):
        files = [Path(folder) / file for file in names]
        if all(file.is_file() for file in files):
            return files
    raise BadInput("model", name, "has no tokenizer.json", "Save its tokenizer in its folder")


def hash_files(files: list[Path]) -> str:
    """Return the SHA-256 of one file, or of the digests of several files in the given order."""
    digests = []
    for path in files:
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )
