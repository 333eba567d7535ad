"""Check and measure albeam on a GPU, in at most ten minutes.

`python -m deploy.bench.gpu` (`make gpu`) needs CUDA, torch, transformers and pyarrow. What else is
missing is skipped, and the report says so. It compares the vectors of each dtype with the
unmodified network in float32, checks what happens without memory, and measures tokens a second,
the share of the device's peak, memory, peers, a training, and FAISS on the GPU. It writes the
report as JSON after each step, and a Markdown table beside it. ``--device cpu`` runs the same steps
in miniature.

Exit codes: 0 all passed, 1 a check or a step failed, 2 no CUDA or bad options, 3 stopped at the
deadline in the middle of a step.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEEDED = ("torch", "transformers", "pyarrow")
#: Seconds that a step needs at least; with less it is skipped.
_SHORT, _LONG = 15.0, 45.0


def main(argv: Sequence[str] | None = None) -> int:
    """Read the arguments, run the steps and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.bench.gpu", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=600.0, help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), metavar="FILE")
    parser.add_argument(
        "--models",
        nargs="+",
        default=["albeam-small", "albert-base"],
        metavar="MODEL",
        help="folders or names; albert-base gets random weights (default: both of albeam bench)",
    )
    options = parser.parse_args(argv)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        return _refuse(
            f"{', '.join(missing)} missing: pip install {' '.join(missing)}, or put a folder that "
            "has it on PYTHONPATH"
        )
    from transforms.errors import BadInput

    try:
        return _run(options)
    except BadInput as error:
        return _refuse(error.describe(f"--{error.option}"))


def _run(options: argparse.Namespace) -> int:
    from deploy.bench.gpu.session import Deadline, Session, empty_report, stop_at
    from deploy.bench.gpu.speed import Effort
    from pipeline.bench.machine import describe_machine
    from transforms.errors import BadInput, check_at_least
    from transforms.runtime.devices import resolve_device

    check_at_least("seconds", options.seconds, 1)
    if not options.output.absolute().parent.is_dir():
        problem = "is in a folder that does not exist"
        raise BadInput("output", str(options.output), problem, "Create the folder")
    device = resolve_device(options.device)
    deadline = Deadline.after(options.seconds)
    timer = stop_at(deadline, _show)
    report = empty_report(describe_machine(device))
    session = Session(deadline, options.output, report, _show)
    small = device == "cpu"
    effort = Effort(24, 1, 256) if small else Effort(16_384, 5, 8_192)
    with tempfile.TemporaryDirectory(prefix="albeam-gpu-") as work:
        _run_steps(session, device, options.models, effort, Path(work), small)
    timer.cancel()
    _show(f"{options.output} and {options.output.with_suffix('.md')} are written")
    return 0 if passed(report) else 1


def _run_steps(
    session: Any, device: str, models: list[str], effort: Any, work: Path, small: bool
) -> None:
    from deploy.bench.gpu import checks, speed, steps
    from pipeline.bench.models import write_base
    from pipeline.bench.options import CORPORA
    from transforms.models.options import ModelOptions
    from transforms.models.resolve import find_model

    # A wrong name ends the session at once.
    found = {
        name: find_model(
            ModelOptions(str(write_base(work / name)) if name == "albert-base" else name)
        )
        for name in models
    }
    for name, model in found.items():
        texts = 8 if small else 96
        session.step(
            f"check {name}", _LONG, lambda m=model, t=texts: checks.check_vectors(m, device, t)
        )
        many = 200 if small else 70_000
        session.step(
            f"check limits {name}",
            _SHORT,
            lambda m=model, n=many: checks.check_limits(m, device, n),
        )
    peak = session.step("peak", _SHORT, lambda: speed.measure_peak(device, effort)) or {}
    for name, model in found.items():
        for corpus in CORPORA:
            session.step(
                f"speed {name} {corpus}",
                _LONG,
                lambda m=model, c=corpus: speed.measure_speed(
                    m, device, c, peak, effort, session.deadline
                ),
            )
    session.step("training", _SHORT, lambda: steps.measure_training(device, 4 if small else 50))
    sizes = (2_000, 16, 32) if small else (262_144, 4_096, 384)
    session.step("index", _SHORT, lambda: steps.measure_index(*sizes))


def passed(report: dict[str, Any]) -> bool:
    """Return whether no step failed and all checks of the report passed."""
    rows = [row for value in report.values() if isinstance(value, list) for row in value]
    rows += [value for value in report.values() if isinstance(value, dict)]
    return not report["failed"] and all(row.get("passed", True) for row in rows)


def _refuse(problem: str) -> int:
    _show(f"deploy.bench.gpu: {problem}")
    return 2


def _show(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
