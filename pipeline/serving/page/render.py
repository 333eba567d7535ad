"""The templates of the page."""

from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Response

_FOLDER = Path(__file__).parent
#: Files that the page links, and their types.
FILES = {"style.css": "text/css", "page.js": "text/javascript"}


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(_FOLDER)
    return jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def html(template: str, status: int = 200, **values: Any) -> Response:
    """Return a page of HTML; all values are escaped."""
    text = _environment().get_template(template).render(**values)
    # Half of a surrogate pair can come from a question.
    content = text.encode("utf-8", "replace")
    return Response(content, status, media_type="text/html; charset=utf-8")


@cache
def linked_file(name: str) -> bytes:
    """Return the content of one of the `FILES`."""
    return (_FOLDER / name).read_bytes()
