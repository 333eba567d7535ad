"""Generate the reference pages: ``python -m deploy.docs.generate``, which is ``make docs``."""

from collections.abc import Callable
from pathlib import Path

from deploy.docs.cli_reference import cli_page
from deploy.docs.json_reference import json_page
from deploy.docs.markdown import ROOT

#: The generated pages, and the function that makes each.
GENERATED: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "reference" / "cli.md": cli_page,
    ROOT / "docs" / "reference" / "json.md": json_page,
}


def outdated() -> list[str]:
    """Return the generated pages that differ from what would be generated now."""
    return [
        path.relative_to(ROOT).as_posix()
        for path, make in GENERATED.items()
        if not path.is_file() or path.read_text(encoding="utf-8") != make()
    ]


def main() -> None:
    """Write the pages."""
    for path, make in GENERATED.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")
        print(path.relative_to(ROOT).as_posix())


if __name__ == "__main__":
    main()
