"""The page of a bundle: its own files, and those of npm's packages."""

from importlib.resources import files
from pathlib import Path

from transforms.bundles.packages import PACKAGES, unpack

#: The files of a page that no package has; README.md is for who serves it.
_SUFFIXES = (".html", ".js", ".md")


def write_page(folder: Path, style: str) -> None:
    """Write the page beside the data.

    Args:
        folder: the bundle.
        style: the style sheet.

    Raises:
        BadInput: a package can't be fetched.
    """
    for package in PACKAGES:
        unpack(package, folder)
    for source in files("transforms.bundles.web").iterdir():
        if source.name.endswith(_SUFFIXES):
            (folder / source.name).write_text(source.read_text(encoding="utf-8"), "utf-8")
    (folder / "style.css").write_text(style, encoding="utf-8")
