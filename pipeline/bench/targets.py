"""The targets of a benchmark: ratios, because these hold on a busy machine too."""

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A ratio of two figures of one model and corpus, with its bound.

    Attributes:
        name: what is compared.
        bound: the least value, or with ``below`` the largest.
        where: the rows, as shape and corpus; or what else was measured.
        measured: the ratio; None if it was not measured.
        below: whether smaller is better.
        note: why it was not measured.
    """

    name: str
    bound: float
    where: str = ""
    measured: float | None = None
    below: bool = False
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the bound holds; None if nothing was measured."""
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.below else self.measured >= self.bound


#: Two systems, and the least ratio of their tokens a second.
_Ratios = tuple[tuple[str, str, float], ...]
_FLOAT32: _Ratios = (("albeam-float32", "sentence-transformers", 1.5),)
#: Without tile units bfloat16 is twice as fast as float32, not ten times.
_AVX512_BF16: _Ratios = (("albeam", "sentence-transformers", 2.5), *_FLOAT32)
_AMX: _Ratios = (
    ("albeam", "sentence-transformers", 5.0),
    ("albeam", "sentence-transformers-best", 2.0),
    ("albeam", "openvino-bf16", 1.4),
    ("albeam", "linear-peak", 0.6),
    *_FLOAT32,
)
#: More for the shapes of models; the row says why int8 was not measured.
_INT8: dict[str, _Ratios] = {
    "albert-base": (("albeam-int8", "albeam", 1.5), ("albeam-int8", "sentence-transformers", 5.0)),
    "albeam-small": (("albeam-int8", "albeam", 1.35),),
}
_CUDA: _Ratios = (
    ("albeam", "sentence-transformers-best", 2.0),
    ("albeam", "matrix-peak", 0.4),
)
#: The least share of the encoder's speed that a whole job has.
_END_TO_END = {"albeam-e2e": 0.95, "albeam-int8-e2e": 0.93}


def judge(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return every target with its measured value and ``passed``: true, false or null."""
    return [asdict(target) | {"passed": target.passed} for target in _targets(report)]


def ratio(ours: dict[str, Any], theirs: dict[str, Any]) -> float | None:
    """Return how many times as fast one row's system is as another's; None if not measured.

    This is the median of the ratios within each round: other load in a round affects both systems.
    """
    rates = zip(ours.get("rates", []), theirs.get("rates", []), strict=False)
    ratios = [mine / other for mine, other in rates if mine and other]
    if ratios:
        return float(statistics.median(ratios))
    mine, other = (row.get("tokens_per_second") for row in (ours, theirs))
    return float(mine / other) if mine and other else None


def _bounds(machine: dict[str, Any]) -> _Ratios:
    """Return the bounds of a device, which depend on its speed in bfloat16."""
    if machine.get("device") == "cuda":
        return _CUDA
    flags = machine.get("cpu_flags", [])
    if "amx_bf16" in flags:
        return _AMX
    return _AVX512_BF16 if "avx512_bf16" in flags else _FLOAT32


def _targets(report: dict[str, Any]) -> Iterator[Target]:
    rows = {(r["shape"], r["corpus"], r["system"]): r for r in report["rows"]}
    bounds = _bounds(report["machine"])
    for shape, corpus in dict.fromkeys((shape, corpus) for shape, corpus, _ in rows):
        where = f"{shape}, {corpus}"
        for ours, theirs, bound in (*bounds, *_INT8.get(shape, ())):
            pair = [rows[at] for name in (ours, theirs) if (at := (shape, corpus, name)) in rows]
            if len(pair) == 2:
                times = ratio(*pair)
                lacking = [row for row in pair if not row.get("tokens_per_second")]
                note = "; ".join(str(row.get("note", "")) for row in lacking)
                yield Target(f"{ours} / {theirs}", bound, where, times, note=note)
        for name, bound in _END_TO_END.items():
            if (end := rows.get((shape, corpus, name))) is not None:
                share = end.get("e2e_share")
                note = "" if share else str(end.get("note", ""))
                yield Target(f"{name} / bare encoder", bound, where, share, note=note)
    if "tokenizer" in report:
        rate = report["tokenizer"]["tokens_per_second"]
        yield Target("tokenizer, tokens/s", 500_000, "squad", rate)
    if "memory" in report:
        yield Target("memory of ten times the rows", 1.1, "", report["memory"]["ratio"], below=True)
    if "store" in report:
        found = report["store"]
        where = f"{found['rows']:,} rows"
        yield Target("sync, nothing changed / embed", 0.05, where, found["unchanged_share"], True)
        yield Target("sync, 1 % changed / embed", 0.07, where, found["changed_share"], True)
        where = f"{found['parts']:,} parts"
        yield Target("opening a store, seconds", 0.3, where, found["open_seconds"], True)
    if bounds is not _CUDA:
        for ours, theirs, bound in _CUDA:
            yield Target(f"{ours} / {theirs}", bound, "cuda", note="not run: no GPU")
