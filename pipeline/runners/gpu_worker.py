"""A worker process of the direct runner that sees one of the GPUs of ``--devices``."""

import os
import sys
from collections.abc import Sequence

from pipeline.runners.gpus import parse_devices, pin_worker


def main(argv: Sequence[str]) -> None:
    """Take a GPU by the worker's number, and run Beam's worker."""
    pin_worker(os.environ, parse_devices(argv[0]), os.environ.get("WORKER_ID", ""))
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])


if __name__ == "__main__":
    main(sys.argv[1:])
