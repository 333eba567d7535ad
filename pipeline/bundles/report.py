"""What ``albeam bundle`` prints."""

from pipeline.command_line.console import counted, note, say
from transforms.bundles.summary import BundleSummary


def print_bundle(summary: BundleSummary, zipped: bool) -> None:
    """Print what was written, how large it is, and how it is asked.

    Args:
        summary: what was written.
        zipped: whether it is one archive.
    """
    output = summary.output
    say(
        f"{summary.output}: {counted(summary.documents, 'document')} of snapshot "
        f"{summary.snapshot}, {summary.bytes / 1e6:.1f} MB"
    )
    say(", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in summary.parts.items()))
    if summary.first_answer_seconds is not None and summary.memory_bytes is not None:
        say(
            f"a first answer took {summary.first_answer_seconds:.2f} seconds "
            f"({summary.processor_seconds:.2f} of processors) and "
            f"{summary.memory_bytes / 1e6:.0f} MB of memory"
        )
        note(f'Ask it: python {output if zipped else f"{output}/ask.py"} "a question"')
    elif zipped:
        note(f"Look at it: unzip {output} -d site && python -m http.server --directory site")
    else:
        note(f"Look at it: python -m http.server --directory {output}")
