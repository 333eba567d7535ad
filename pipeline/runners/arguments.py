"""The options of ``albeam doctor``."""

import argparse
import os

from pipeline.command_line.shared_arguments import runner_argument
from transforms.models.options import DEFAULT_MODEL


def doctor_arguments(sub: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam doctor``."""
    runner_argument(sub)
    sub.add_argument(
        "--model",
        default=os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL,
        help="which must load (default: $ALBEAM_MODEL, else albeam-small, which is here)",
    )
