"""The options of ``albeam serve``."""

import argparse
import re
from pathlib import Path

from pipeline.command_line.argument_types import seconds, whole_number
from pipeline.command_line.shared_arguments import moved_model_argument, placement_arguments
from pipeline.serving.options import LOGS, Limits, ServeOptions
from transforms.errors import BadInput

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})=(.+)", re.DOTALL)


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam serve``."""
    parser.usage = (
        "albeam serve STORE [NAME=STORE ...] [options]\n"
        "       albeam serve --keys FILE --add-key NAME [--key-store NAME] [--key-where CONDITION]"
    )
    parser.add_argument(
        "stores",
        nargs="*",
        metavar="STORE",
        help="folder of a store, any fsspec URL; NAME=STORE gives it another name than its folder "
        "has; the first one is the default of requests",
    )
    parser.add_argument(
        "--host",
        default=ServeOptions.host,
        help="address to listen on; 0.0.0.0 is every address of this machine (default: "
        "%(default)s, which only this machine reaches)",
    )
    parser.add_argument(
        "--port",
        type=whole_number,
        default=ServeOptions.port,
        help="port to listen on; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        dest="processes",
        type=whole_number,
        default=ServeOptions.workers,
        metavar="N",
        help="number of processes that serve (default: %(default)s)",
    )
    parser.add_argument(
        "--follow",
        type=seconds,
        metavar="TIME",
        help="look for a new snapshot so often, such as 10s, and serve it (default: never)",
    )
    parser.add_argument(
        "--log",
        choices=LOGS,
        default=ServeOptions.log,
        help="form of the log, which goes to stderr (default: %(default)s)",
    )
    parser.add_argument(
        "--otel",
        action="store_true",
        help="send traces by OpenTelemetry to where $OTEL_EXPORTER_OTLP_ENDPOINT says; needs the "
        "extra otel",
    )
    _model_arguments(parser)
    _safety_arguments(parser)
    _limit_arguments(parser)


def mcp_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam mcp``."""
    parser.usage = "albeam mcp STORE [NAME=STORE ...] [options]"
    parser.add_argument(
        "stores",
        nargs="+",
        metavar="STORE",
        help="folder of a store, any fsspec URL; NAME=STORE gives it another name than its folder",
    )
    group = parser.add_argument_group("models (folders or hub names)")
    moved_model_argument(group)
    group.add_argument("--reader", metavar="MODEL", help="a model that finds answers in hits")
    placement_arguments(group)
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="file of keys: the tools show what the key in $ALBEAM_KEY shows (default: everything)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=Limits.seconds,
        metavar="TIME",
        help=f"longest duration of a call (default: {Limits.seconds:g}s)",
    )


def _model_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("models (folders or hub names)")
    moved_model_argument(group)
    group.add_argument("--reader", metavar="MODEL", help="a model that finds answers in hits")
    group.add_argument("--reranker", metavar="MODEL", help="a model that reranks hits")
    group.add_argument(
        "--head",
        dest="heads",
        action="append",
        default=[],
        metavar="NAME=HEAD",
        help="folder of a head that classifies texts or finds entities, served as /predict/NAME; "
        "may be repeated",
    )
    placement_arguments(group)


def _safety_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("safety")
    group.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="file of the keys that clients must have (default: anyone who reaches the service "
        "may ask)",
    )
    group.add_argument(
        "--add-key", metavar="NAME", help="make a key, add it to the file, print it, and end"
    )
    group.add_argument("--remove-key", metavar="NAME", help="remove a key from the file, and end")
    group.add_argument(
        "--key-store", metavar="NAME", help="with --add-key: the only store that the key opens"
    )
    group.add_argument(
        "--key-where",
        metavar="CONDITION",
        help="with --add-key: the key shows only documents that meet this condition, such as "
        "\"tenant = 'a'\"",
    )
    group.add_argument(
        "--cors",
        dest="origins",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="web site whose scripts may ask, such as https://example.org; may be repeated "
        "(default: none)",
    )
    group.add_argument(
        "--allow-host",
        dest="allowed_hosts",
        action="append",
        default=[],
        metavar="NAME",
        help="further name by which the service may be asked, such as that of a proxy before it",
    )


def _limit_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits (of each process)")
    group.add_argument(
        "--queue",
        type=whole_number,
        default=Limits.queue,
        metavar="N",
        help="most requests in progress; a further one is refused with status 503 "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--timeout",
        type=seconds,
        default=Limits.seconds,
        metavar="TIME",
        help=f"longest duration of a request (default: {Limits.seconds:g}s)",
    )
    group.add_argument(
        "--max-k",
        type=whole_number,
        default=Limits.k,
        metavar="N",
        help="most documents of a search (default: %(default)s)",
    )


def stores_of(given: list[str]) -> dict[str, str]:
    """Return the URLs of stores by their names; raises BadInput if a name is there twice."""
    stores: dict[str, str] = {}
    for text in given:
        found = _NAMED.fullmatch(text)
        name, url = found.groups() if found else (_folder_name(text), text)
        if name in stores:
            problem = f"has the name {name!r}, as another store has"
            raise BadInput("store", text, problem, "Give it another name: NAME=STORE")
        stores[name] = url
    return stores


def heads_of(given: list[str]) -> dict[str, str]:
    """Return the folders of heads by their names; raises BadInput for one without a name."""
    heads: dict[str, str] = {}
    for text in given:
        found = _NAMED.fullmatch(text)
        if found is None:
            raise BadInput("head", text, "has no name", "Give NAME=HEAD")
        if found[1] in heads:
            raise BadInput("head", text, "has the name of another head", "Give another name")
        heads[found[1]] = found[2]
    return heads


def _folder_name(url: str) -> str:
    last = re.split(r"[/\\]", url.rstrip("/\\"))[-1]
    return re.sub(r"[^A-Za-z0-9._-]", "-", last).strip(".-") or "store"
