"""The tables of ``albeam compress``."""

from pipeline.command_line.console import note, print_table, say
from pipeline.compression.summary import CompressSummary

NAMES = {"layers": "layers", "heads": "heads", "inner": "inner units"}
Row = tuple[str, ...]


def print_compression(summary: CompressSummary) -> None:
    """Print sizes, speed and quality of both models, and what each kind of pruning saves."""
    print_table(("", "original", "compressed"), figure_rows(summary))
    say()
    print_table(("alone", "before", "after", "parameters", "products"), saving_rows(summary))
    for saving in summary.savings:
        if saving.note:
            note(saving.note)
    if summary.cosine is None:
        note("Quality is not measured without --texts.")


def figure_rows(summary: CompressSummary) -> list[Row]:
    """Return a row for each figure: its name, that of the original, that of the smaller model."""
    one, other = summary.original, summary.compressed
    rows: list[Row] = [
        (name, f"{getattr(one, field):,}", f"{getattr(other, field):,}")
        for field, name in (*NAMES.items(), ("parameters", "parameters"))
    ]
    rows += [
        ("MB of weights", f"{one.bytes / 1e6:.2f}", f"{other.bytes / 1e6:.2f}"),
        (
            "products of a token",
            f"{one.products_per_token / 1e6:.2f} M",
            f"{other.products_per_token / 1e6:.2f} M",
        ),
        ("tokens per second", f"{one.tokens_per_second:,.0f}", f"{other.tokens_per_second:,.0f}"),
        ("speed, by turns", "1.00", f"{summary.speedup:.2f}"),
    ]
    if summary.cosine is not None and summary.cosine_p1 is not None:
        rows += [
            ("mean cosine to the original", "1.0000", f"{summary.cosine:.4f}"),
            ("... first percentile", "1.0000", f"{summary.cosine_p1:.4f}"),
        ]
    if one.ndcg is not None and other.ndcg is not None:
        rows.append(("nDCG@10", f"{one.ndcg:.4f}", f"{other.ndcg:.4f}"))
    return rows


def saving_rows(summary: CompressSummary) -> list[Row]:
    """Return a row for each kind of pruning: what a model loses by it alone."""
    whole = summary.original
    return [
        (
            NAMES[each.what],
            f"{each.before:,}",
            f"{each.after:,}",
            _share(each.parameters, whole.parameters),
            _share(each.products_per_token, whole.products_per_token),
        )
        for each in summary.savings
    ]


def _share(lost: int, whole: int) -> str:
    return f"-{lost / whole:.1%}" if lost else "same"
