"""The Markdown table of a session, for docs/benchmarks.md."""

from collections.abc import Iterator
from typing import Any


def as_markdown(report: dict[str, Any]) -> str:
    """Return machine, speed, correctness and what did not run, as Markdown."""
    return "\n".join([*_machine(report), *_speed(report), *_checks(report), *_rest(report)]) + "\n"


def _machine(report: dict[str, Any]) -> Iterator[str]:
    machine = report["machine"]
    gpu = machine.get("gpu") or {}
    name = gpu.get("name", machine.get("processor") or machine["platform"])
    versions = machine["versions"]
    parts = [name]
    if gpu:
        parts.append(f"compute capability {gpu['capability']}, {gpu['bytes'] / 2**30:.0f} GiB")
    parts += [f"{key} {versions[key]}" for key in ("torch", "transformers") if versions.get(key)]
    yield f"{', '.join(parts)}; {machine['date']}."
    peak = report.get("peak")
    if peak:
        rates = ", ".join(f"{dtype} {rate / 1e12:.3g}" for dtype, rate in peak.items())
        yield f"A large square product runs at, in TFLOP/s: {rates}."


def _speed(report: dict[str, Any]) -> Iterator[str]:
    rows = [row for name in sorted(report) if name.startswith("speed") for row in report[name]]
    if not rows:
        return
    yield ""
    yield "| model | texts | system | dtype | tokens/s | share of peak | peak memory |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        share = "" if row["share"] is None else f"{row['share']:.0%}"
        memory = "" if row["bytes"] is None else f"{row['bytes'] / 2**30:.2f} GiB"
        yield (
            f"| {row['model']} | {row['corpus']} | {row['system']} | {row['dtype']} | "
            f"{row['tokens_per_second']:,.0f} | {share} | {memory} |"
        )


def _checks(report: dict[str, Any]) -> Iterator[str]:
    checks = [row for name in sorted(report) if name.startswith("check") for row in report[name]]
    if not checks:
        return
    yield ""
    yield "| check | model | found | bound | |"
    yield "| --- | --- | --- | --- | --- |"
    for row in checks:
        passed = "passed" if row["passed"] else "FAILED"
        yield f"| {row['check']} | {row['model']} | {row['found']} | {row['bound']} | {passed} |"


def _rest(report: dict[str, Any]) -> Iterator[str]:
    for name in ("training", "index"):
        if report.get(name):
            yield ""
            yield f"{name}: " + ", ".join(f"{key} {value}" for key, value in report[name].items())
    for kind in ("skipped", "failed"):
        for name, reason in report[kind].items():
            yield ""
            yield f"{name} {kind}: {reason}"
