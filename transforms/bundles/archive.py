"""A bundle as one zip archive, from which arrays are mapped."""

import shutil
import struct
import zipfile
from pathlib import Path

#: What is stored without compression, as it is mapped from the archive or hardly gets smaller.
_STORED = (".bin", ".onnx", ".parquet")
#: Where stored files begin: at a multiple of so many bytes, as the cache lines of processors.
_LINE = 64
#: The bytes of a member's header before its name, and the id of a field that only fills up.
_HEADER, _FILLER = 30, 0xD935


def write_archive(folder: Path, output: Path) -> dict[str, int]:
    """Write the files of a folder to an archive, whose bytes depend on nothing else.

    Args:
        folder: the files.
        output: the archive.

    Returns:
        The size of each file in the archive.
    """
    with output.open("wb") as out, zipfile.ZipFile(out, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            # The date is that of the format's first day.
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix())
            info.external_attr, info.file_size = 0o100644 << 16, path.stat().st_size
            if path.suffix in _STORED:
                info.extra = _filler(out.tell() + _HEADER + len(info.filename.encode()))
            else:
                info.compress_type = zipfile.ZIP_DEFLATED
            with path.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target)
        return {info.filename: info.compress_size for info in archive.infolist()}


def _filler(place: int) -> bytes:
    """Return a field after which a place is a multiple of `_LINE`."""
    head = struct.Struct("<HH")
    size = -(place + head.size) % _LINE
    return head.pack(_FILLER, size) + bytes(size)
