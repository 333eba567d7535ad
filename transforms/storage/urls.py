"""What a path means: a local name, the URL of one filesystem, or a chain of URLs.

A path is a URL only if it begins with a protocol and ``://``, or with ``file:/``. Every other path
is a local name, whatever it contains: ``12::30``, ``data:x.parquet``, ``C:x`` and ``100%``. A chain
such as ``zip://a.parquet::s3://bucket/x.zip`` begins with a filesystem that wraps another one.
"""

import os
import re
from itertools import takewhile
from typing import Any
from urllib.parse import unquote

import fsspec
from fsspec.registry import known_implementations

from transforms.errors import BadInput

_LOCAL = ("file", "local")
_FILE_URL = re.compile(r"(?:(?:file|local)://|file:(?=/))(.*)", re.DOTALL)
_URL = re.compile(r"([A-Za-z][\w+.-]+)://", re.ASCII)
_ONE_SLASH = re.compile(r"(\w{2,}):/(?!/)", re.ASCII)
#: The filesystems of fsspec that wrap another one; only these can begin a chain.
_LAYERS = frozenset(
    {"zip", "tar", "libarchive", "reference", "dir", "simplecache", "filecache", "blockcache"}
    | {"cached", "async_wrapper", "asyncwrapper"}
)
_NO_CACHE = {"use_listings_cache": False}
_CHECK_URL = "Check the URL, and install the fsspec package of its protocol"


def is_local(url: str) -> bool:
    """Return whether a path is on this machine's disk."""
    if _FILE_URL.match(url):
        return True
    return _URL.match(url) is None and not is_chain(url)


def is_chain(url: str) -> bool:
    """Return whether a path is a chain of URLs; a local name or an object's may hold ``::``."""
    head, link, rest = url.partition("::")
    if not link:
        return False
    found = _URL.match(head)
    return found[1] in _LAYERS if found else head in _LAYERS and "://" in rest


def is_on_disk(url: str) -> bool:
    """Return whether a path, or the last one of a chain, is on this machine's disk."""
    return is_local(url.rpartition("::")[2] if is_chain(url) else url)


def local_name(url: str) -> str:
    """Return the absolute path of a local name or URL; links in it are not resolved.

    Percent escapes of a ``file://`` URL are decoded, unless they are part of a name that exists.

    Raises:
        BadInput: the name is not UTF-8, or looks like a misspelt URL.
    """
    found = _FILE_URL.match(url)
    name = _decode(found[1]) if found else url
    check_text(name)
    if not found:
        _check_slashes(name)
    name = os.path.expanduser(name)
    if not name.startswith("/"):
        name = os.path.join(os.getcwd(), name.removeprefix("./"))
    return name.rstrip("/") or "/"


def anchored(url: str) -> str:
    """Return a chain with an absolute path at its end, if that is local."""
    before, _, last = url.rpartition("::")
    return f"{before}::file://{local_name(last)}" if is_local(last) else url


def open_remote(url: str) -> tuple[Any, str]:
    """Return the filesystem of a URL or a chain, without listing caches, and the path in it.

    Raises:
        BadInput: the protocol is unknown, its package is missing, or its host can't be reached.
    """
    check_text(url)
    try:
        if is_chain(url):
            return _open_chain(anchored(url))
        if "::" not in url:
            fs, path = fsspec.url_to_fs(url, **_NO_CACHE)
            return fs, path
        # fsspec would take the name of an object that holds "::" for a chain.
        kind = fsspec.get_filesystem_class(url.partition("://")[0])
        options = {**_NO_CACHE, **kind._get_kwargs_from_urls(url)}
        return kind(**options), kind._strip_protocol(url)
    except BadInput:
        raise
    except (ValueError, ImportError, OSError) as error:
        raise BadInput("path", url, f"can't be opened: {error}", _CHECK_URL) from error


def url_of(opened: str, fs: Any, path: str, name: str) -> str:
    """Return the URL of a file that a listing names.

    Args:
        opened: the URL that was opened.
        fs: its filesystem.
        path: its path in the filesystem.
        name: the path of the file in the filesystem.
    """
    if is_chain(opened):
        links = opened.split("::")
        place = next(number for number, link in enumerate(links) if "://" in link)
        protocol = links[place].partition("://")[0]
        links[place] = name if "://" in name else f"{protocol}://{name}"
        return "::".join(links)
    if not type(fs)._get_kwargs_from_urls(opened):
        return str(fs.unstrip_protocol(name))
    # The URL names a host or an account, which the filesystem leaves out of its paths.
    both = zip(reversed(opened), reversed(path), strict=False)
    shared = len(list(takewhile(lambda letters: letters[0] == letters[1], both)))
    return opened[: len(opened) - shared] + name[len(path) - shared :]


def check_link(url: str, path: str) -> None:
    """Raise BadInput if a chain can't name a file that a listing of it has found."""
    if is_chain(url) and "::" in path:
        problem = "holds '::', which fsspec takes for the end of a URL in a chain"
        raise BadInput("input", url, problem, "Rename the file, or leave the chain out")


def check_text(url: str) -> None:
    """Raise BadInput if a path can't be written down as text."""
    try:
        url.encode()
    except UnicodeEncodeError:
        shown = url.encode("utf-8", "backslashreplace").decode()
        raise BadInput("path", shown, "is not UTF-8", "Rename it") from None
    if "\0" in url:
        raise BadInput("path", repr(url), "holds a null character", "Give another name")


def _open_chain(url: str) -> tuple[Any, str]:
    names = [found[1] for found in map(_URL.match, url.split("::")) if found]
    kwargs = {name: dict(_NO_CACHE) for name in names if name not in _LAYERS and name not in _LOCAL}
    try:
        fs, path = fsspec.url_to_fs(url, **kwargs)
    except (TimeoutError, ConnectionError):
        raise
    except Exception as error:
        # Archives have errors of their own for files that are none.
        reason = f"{type(error).__name__}: {error}"
        remedy = "Check the URL, and that the file which it names is whole"
        raise BadInput("path", url, f"can't be opened: {reason}", remedy) from error
    return fs, path


def _decode(path: str) -> str:
    """Return the path of a ``file://`` URL without its protocol."""
    if path.startswith("localhost/") and not os.path.lexists("localhost"):
        path = path.removeprefix("localhost")
    if "%" not in path:
        return path
    end = path.find("/", path.rindex("%"))
    exists = os.path.lexists(os.path.expanduser(path if end < 0 else path[:end]))
    return path if exists else unquote(path, errors="surrogateescape")


def _check_slashes(name: str) -> None:
    found = _ONE_SLASH.match(name)
    known = found is not None and found[1] in known_implementations
    if found is not None and known and not os.path.lexists(f"{found[1]}:"):
        raise BadInput(
            "path",
            name,
            f"has one slash after {found[1]}:",
            f"Give {found[1]}://{name[found.end() :]}, or ./{name} for a local folder",
        )
