"""``albeam compress`` and ``export``: from parsed arguments to options."""

import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from pipeline.command_line.console import print_json, tell
from pipeline.command_line.shared_arguments import model_options
from pipeline.compression.options import CompressOptions
from transforms.compression.onnx_export.options import ExportOptions
from transforms.compression.options import Pruning
from transforms.models.options import DEFAULT_MODEL, ModelOptions


def run_compress(arguments: Any) -> None:
    """Make a model smaller."""
    from transforms.models.resolve import find_folder

    given = vars(arguments)
    output = arguments.output.absolute()
    model = arguments.model
    if model == DEFAULT_MODEL:
        model = find_folder(ModelOptions(model))[0]
    given |= {
        "model": Path(model),
        "pruning": Pruning(**{field.name: given[field.name] for field in fields(Pruning)}),
        "output": output,
        "work": arguments.work or output.with_name(f"{output.name}.work"),
        "texts": tuple(arguments.texts),
    }
    options = CompressOptions(
        **{field.name: given[field.name] for field in fields(CompressOptions)}
    )

    from pipeline.compression.compress import compress
    from pipeline.compression.report import print_compression

    summary = compress(options, lambda line: tell(line, sys.stderr))
    if arguments.json:
        print_json(asdict(summary))
    else:
        print_compression(summary)


def run_export(arguments: Any) -> None:
    """Write a model as an ONNX file."""
    options = ExportOptions(
        model_options(arguments),
        arguments.output.absolute(),
        arguments.format,
        arguments.int8,
        tuple(arguments.texts),
    )
    from pipeline.compression.export_libraries import check_libraries

    check_libraries(options)
    from pipeline.compression.export import run
    from pipeline.compression.export_report import print_export

    summary = run(options)
    if arguments.json:
        print_json(asdict(summary))
    else:
        print_export(summary)
