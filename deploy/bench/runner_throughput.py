"""Compare tokens a second on Flink or Prism with those on the direct runner.

``python -m deploy.bench.runner_throughput INPUT --engine flink --flink-master '[local]' …`` embeds
the input on both in turn. It prints the rate between the first and the last finished part, which is
the cost of an engine while it works, without its start. Run on Linux.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from pipeline.ingest.embed import run
from pipeline.ingest.options import EmbedOptions
from transforms.catalog.layout import SegmentPaths
from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.storage import filesystem


def steady_rate(paths: SegmentPaths) -> float:
    """Return tokens a second of all finished parts except the first."""
    finished = sorted(
        (filesystem.modified(paths.marker(number)), number) for number in paths.finished_parts()
    )
    infos = [info for _, number in finished if (info := paths.read_marker(number)) is not None]
    return sum(info.tokens for info in infos[1:]) / (finished[-1][0] - finished[0][0])


def main() -> None:
    """Measure; print one line for each run, and the ratio of the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", help="Parquet files with id and text")
    parser.add_argument("--engine", default="flink", help="flink or prism")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows-per-part", type=int, default=100)
    given, beam = parser.parse_known_args()
    rates: dict[str, list[float]] = {"direct": [], given.engine: []}
    for _ in range(given.rounds):
        for runner, found in rates.items():
            with tempfile.TemporaryDirectory() as folder:
                options = EmbedOptions(
                    inputs=(given.input,),
                    store=str(Path(folder) / "store"),
                    model=ModelOptions(DEFAULT_MODEL),
                    rows_per_part=given.rows_per_part,
                    runner=runner,
                    beam_args=() if runner == "direct" else tuple(beam),
                )
                summary = run(options)
                rate = steady_rate(SegmentPaths(summary.store, summary.segment))
                found.append(rate)
                print(f"{runner}: {rate:,.0f} tokens/s, {summary.seconds:.1f} s in all", flush=True)
    middle = {runner: statistics.median(found) for runner, found in rates.items()}
    ratio = middle[given.engine] / middle["direct"]
    print(json.dumps({"tokens_per_second": rates, "ratio": round(ratio, 3)}))


if __name__ == "__main__":
    main()
