"""``albeam bundle``: parsed arguments to options."""

from dataclasses import asdict
from typing import Any

from pipeline.command_line.console import print_json, tell
from transforms.bundles.options import BundleOptions
from transforms.runtime.extras import check_installed


def run_bundle(arguments: Any) -> None:
    """Run ``albeam bundle``."""
    given = arguments
    options = BundleOptions(
        store=given.store,
        output=given.output,
        web=given.web,
        snapshot=given.snapshot,
        model=given.model,
        vectors=given.vectors,
        most_passages=given.most_passages,
    )
    for library in ("onnx", "onnxruntime"):
        check_installed(library, "output", str(options.output))
    from pipeline.bundles.bundle import run
    from pipeline.bundles.report import print_bundle

    summary = run(options, tell)
    if given.json:
        print_json(asdict(summary))
    else:
        print_bundle(summary, options.zipped)
