"""The output of ``albeam bench``."""

from typing import Any

from pipeline.command_line.console import format_number, print_table, say


def print_bench(report: dict[str, Any]) -> None:
    """Print the rows, the targets and the other figures of a report."""
    names = (
        "shape",
        "corpus",
        "system",
        "dtype",
        "tokens/s",
        "of peak",
        "padding",
        "cosine",
        "nDCG@10",
    )
    rows = [
        (
            *(row["shape"], row["corpus"], row["system"], row["dtype"]),
            format_number(row["tokens_per_second"], ",.0f"),
            format_number(row["peak_share"], ".2f"),
            format_number(row["padding"], ".1%"),
            format_number(row["least_cosine"], ".6f"),
            format_number(row["ndcg_at_10"], ".4f"),
            row["note"],
        )
        for row in report["rows"]
    ]
    if rows:
        print_table((*names, "note"), rows)
    if "tokenizer" in report:
        found = report["tokenizer"]
        say()
        say(
            f"tokenizer  {found['tokens_per_second']:,.0f} tokens/s on one core, "
            f"{found['again_tokens_per_second']:,.0f} on the second pass"
        )
    if "memory" in report:
        pairs = zip(report["memory"]["rows"], report["memory"]["peak_bytes"], strict=True)
        peaks = ", ".join(f"{rows:,} rows {peak / 1e6:,.0f} MB" for rows, peak in pairs)
        say()
        say(f"memory  {peaks}: ratio {report['memory']['ratio']:.3f}")
    if "store" in report:
        found = report["store"]
        say()
        say(
            f"store  {found['rows']:,} rows embedded in {found['embed_seconds']:.0f} s; a sync "
            f"of the same in {found['unchanged_share']:.1%} of that, with 1 % changed in "
            f"{found['changed_share']:.1%}; {found['parts']:,} parts open in "
            f"{1000 * found['open_seconds']:.0f} ms"
        )
    if report["targets"]:
        verdicts = {True: "pass", False: "fail", None: "-"}
        say()
        print_table(
            ("target", "where", "bound", "measured", "verdict", "note"),
            [
                (
                    *(target["name"], target["where"]),
                    f"{'<=' if target['below'] else '>='} {target['bound']:,g}",
                    format_number(target["measured"], ",.2f"),
                    *(verdicts[target["passed"]], target["note"]),
                )
                for target in report["targets"]
            ],
        )
