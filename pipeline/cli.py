"""The command line. argv is read here and nowhere else; `pipeline.parser` does the rest."""

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from pipeline.command_line.exit_codes import (
    BAD_INPUT,
    CONFLICT,
    DONE,
    FAILED,
    INTERRUPTED,
    TARGET_MISSED,
)
from pipeline.parser import COMMANDS, ON_BEAM, RESUMED, build_parser, option_names
from transforms.errors import AlbeamError, BadInput, Conflict, RecallMissed


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    many = arguments.command == "search" and arguments.output is not None
    if rest and arguments.command not in ON_BEAM and not many:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    _quiet(arguments.verbose)
    arguments.option_names = option_names(parser, arguments.command)
    try:
        arguments.beam_args = (*rest, *_workers(arguments))
        with _interruptible(arguments.command):
            COMMANDS[arguments.command](arguments)
    except AlbeamError as error:
        code = _exit_code(error)
        if arguments.verbose and code == FAILED:
            traceback.print_exc()
        return _fail(_describe(error, arguments.option_names), code)
    except ImportError as error:
        if "albeam[" not in str(error):
            raise
        return _fail(error, BAD_INPUT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        return _fail(error, FAILED)
    return DONE


def _exit_code(error: AlbeamError) -> int:
    kinds = ((BadInput, BAD_INPUT), (RecallMissed, TARGET_MISSED), (Conflict, CONFLICT))
    return next((code for kind, code in kinds if isinstance(error, kind)), FAILED)


def _describe(error: AlbeamError, names: Sequence[str]) -> str:
    """Name the option as the user of a command line gives it."""
    flag = "--" + error.option.replace("_", "-")
    return error.describe(flag if flag in names else error.option)


def _workers(arguments: Any) -> tuple[str, ...]:
    if getattr(arguments, "workers", None) is None:
        return ()
    from pipeline.runners.flink import workers_arguments

    return workers_arguments(arguments.workers)


def _quiet(verbose: bool) -> None:
    """Hush the libraries, unless asked not to."""
    logging.basicConfig(
        format="%(levelname)s %(name)s: %(message)s",
        level=logging.INFO if verbose else logging.ERROR,
    )
    if verbose:
        return
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("transforms").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore")


@contextlib.contextmanager
def _interruptible(command: str) -> Iterator[None]:
    """End at once when interrupted: raised in a worker, an interrupt can get lost.

    A store survives any end. Where interrupts are ignored or handled already, they stay so.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    again = " with --resume" if command in RESUMED else ""
    signal.signal(signal.SIGINT, partial(_interrupt, again))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupt(again: str, *_: object) -> None:
    # Behind sys.stderr may be a buffer; a terminal's progress line has hidden the cursor.
    cursor = b"\x1b[?25h\n" if os.isatty(2) else b""
    line = f"albeam: interrupted; run the same command again{again} to go on\n"
    os.write(2, cursor + line.encode())
    os._exit(INTERRUPTED)


def _fail(message: object, code: int) -> int:
    print(f"albeam: {' '.join(str(message).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
