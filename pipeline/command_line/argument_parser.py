"""The parser of albeam's command lines, on argparse."""

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.command_line.exit_codes import BAD_INPUT
from pipeline.command_line.screen import printable


class Parser(argparse.ArgumentParser):
    """A parser whose errors have albeam's exit code, and whose words may come in any order.

    Attributes:
        default_task: which of its tasks options without a task are for; None if a task must be
            named.
    """

    default_task: str | None = None
    _intermixed = False

    def error(self, message: str) -> Any:
        """Exit with the code of bad options, and print the message as one line."""
        self.exit(BAD_INPUT, printable(f"{self.prog}: {message}") + "\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += _suggestion(str(value), map(str, action.choices or ()))
            raise

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse ignores that a message can't be written.
        (file or sys.stderr).write(message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Accept options between positional arguments, of which the last are optional."""
        if self.default_task and args and args[0][:1] == "-" and args[0] not in ("-h", "--help"):
            args = [self.default_task, *args]
        optional = any(action.nargs in ("?", "*") for action in self._get_positional_actions())
        if self._intermixed or not optional:
            return super().parse_known_args(args, namespace)
        # argparse calls this method again for each of the two kinds of arguments.
        self._intermixed = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixed = False


class Version(argparse.Action):
    """The option that prints the version of albeam and ends the program."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print the version, and exit."""
        from importlib.metadata import version

        parser._print_message(f"albeam {version('albeam')}\n", sys.stdout)
        parser.exit()


def unrecognized(words: Sequence[str], names: Iterable[str]) -> str:
    """Return the message about words that a command does not know; ``names`` are its options."""
    flags = (word.partition("=")[0] for word in words if word.startswith("--"))
    return f"unrecognized arguments: {' '.join(words)}{_suggestion(next(flags, ''), names)}"


def _suggestion(given: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(given, list(known), 1)
    return f". Perhaps you mean {close[0]}" if close else ""


def find_parser(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    """Return the parser of a command, such as ``embed`` or ``finetune classify``."""
    for word in command.split():
        [choices] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        parser = choices.choices[word]
    return parser


def option_names(parser: argparse.ArgumentParser, command: str) -> tuple[str, ...]:
    """Return the options of a command that its help shows, such as ``--recall-target``."""
    actions = find_parser(parser, command)._option_string_actions
    return tuple(name for name, action in actions.items() if action.help != argparse.SUPPRESS)
