"""The command line: read argv, run one command, return its exit code."""

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from pipeline.command_line.argument_parser import option_names, unrecognized
from pipeline.command_line.console import tell, unwritable
from pipeline.command_line.exit_codes import (
    BAD_INPUT,
    CONFLICT,
    DONE,
    FAILED,
    INTERRUPTED,
    OUTPUT_CLOSED,
    TARGET_MISSED,
)
from pipeline.command_line.screen import printable_lines
from pipeline.command_line.streams import (
    drop_output,
    is_closed,
    prepare_output,
)
from pipeline.parser import COMMANDS, build_parser
from transforms.errors import AlbeamError, BadInput, Conflict, RecallMissed
from transforms.runtime.extras import missing_library

#: The first class that fits an error decides its exit code.
_EXIT_CODES = (
    (BadInput, BAD_INPUT),
    (RecallMissed, TARGET_MISSED),
    (Conflict, CONFLICT),
    (AlbeamError, FAILED),
)
#: A line's end in a message, with the white space around it.
_LINE_END = re.compile(r"\s*\n\s*")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit code."""
    prepare_output()
    try:
        try:
            return _run(argv)
        finally:
            # Python would flush after this function, and print a traceback if that fails.
            sys.stdout.flush()
    except OSError as error:
        closed = isinstance(error, BrokenPipeError) and is_closed()
        drop_output()
        return OUTPUT_CLOSED if closed else _fail(unwritable(error), FAILED)


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    command = COMMANDS[arguments.command]
    if rest and not command.uses_beam(arguments):
        parser.error(unrecognized(rest, option_names(parser, arguments.command)))
    _configure_logs(arguments.verbose)
    names = option_names(parser, arguments.command)
    try:
        arguments.beam_args = _beam_args(arguments, rest, names)
        with _interruptible(command.resumes):
            command.run(arguments)
    except AlbeamError as error:
        code = next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
        if arguments.verbose and code == FAILED:
            sys.stderr.write(printable_lines(traceback.format_exc()))
        return _fail(_describe(error, names), code)
    except ImportError as error:
        # The message of a missing extra names the extra; any other one is a fault of albeam.
        named = str(error) if "albeam[" in str(error) else ""
        missing = named or missing_library(error, arguments.command)
        if not missing:
            raise
        return _fail(missing, BAD_INPUT)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and is_closed():
            raise
        return _fail(error, FAILED)
    return DONE


def _beam_args(arguments: Any, rest: Sequence[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options for Beam; raises BadInput if Beam does not know one of them."""
    workers = getattr(arguments, "workers", None)
    if not rest and workers is None:
        return ()
    from pipeline.runners.flink import workers_arguments
    from pipeline.runners.launch import check_beam_args

    given = (*rest, *(workers_arguments(workers) if workers is not None else ()))
    check_beam_args(given, names)
    return given


def _describe(error: AlbeamError, names: Sequence[str]) -> str:
    """Return the text of an error, in which an option has the name of the command line."""
    option = error.option.replace("_", "-")
    flags = (f"--{option}", f"-{option}")
    return error.describe(next((flag for flag in flags if flag in names), error.option))


def _configure_logs(verbose: bool) -> None:
    """Silence the logs of the libraries, unless the user asked for them."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO if verbose else logging.ERROR)
    if verbose:
        return
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("transforms").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


@contextlib.contextmanager
def _interruptible(resumes: bool) -> Iterator[None]:
    """End the process at once on an interrupt: raised in a worker, an interrupt can get lost.

    A store survives any end of the process. If interrupts are ignored or handled already, this
    context changes nothing.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, partial(_interrupt, " with --resume" if resumes else ""))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(how: str, *_: object) -> None:
    # sys.stderr may be a buffer here, so this writes to the real one. The progress line on a
    # terminal has hidden the cursor.
    cursor = b"\x1b[?25h\n" if os.isatty(2) else b""
    line = f"albeam: interrupted; run the same command again{how} to continue\n"
    with contextlib.suppress(OSError):
        os.write(2, cursor + line.encode())
    os._exit(INTERRUPTED)


def _fail(message: object, code: int) -> int:
    # The messages of libraries may have several lines.
    tell(f"albeam: {_LINE_END.sub(' ', str(message).strip())}")
    return code


if __name__ == "__main__":
    sys.exit(main())
