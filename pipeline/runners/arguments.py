"""The options of ``albeam doctor``."""

import argparse

from pipeline.command_line.shared_arguments import model_argument, runner_argument


def doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam doctor``."""
    runner_argument(parser)
    model_argument(parser)
