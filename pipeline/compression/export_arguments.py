"""The arguments of ``albeam export``."""

import argparse
from pathlib import Path

from pipeline.command_line.argument_types import whole_number
from transforms.compression.onnx_export.options import FORMATS, ExportOptions
from transforms.models.options import DEFAULT_MAX_TOKENS, POOLINGS, ModelOptions


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``albeam export``."""
    parser.add_argument("model", help="folder or hub name of a model, or of a network with a head")
    parser.add_argument("--revision", help="branch, tag or commit of a model from a hub")
    parser.add_argument("--output", type=Path, required=True, help="folder to write; a new one")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=ExportOptions.format,
        help="format of the network (default: %(default)s)",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="make the weights of products bytes, by ONNX Runtime's quantizer",
    )
    parser.add_argument(
        "--texts",
        type=Path,
        nargs="+",
        default=[],
        help="Parquet files with a column text: the loss is also measured on their first texts",
    )
    parser.add_argument(
        "--pooling",
        choices=POOLINGS,
        help="how token states become one vector (default: the model's own, else mean)",
    )
    parser.add_argument(
        "--layer",
        type=int,
        default=ModelOptions.layer,
        metavar="N",
        help="hidden states to pool: 0 for the embeddings, -1 for the last layer "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--no-normalize",
        action="store_true",
        help="keep the lengths of the vectors (default: as the model says, else normalize)",
    )
    parser.add_argument(
        "--max-tokens",
        type=whole_number,
        metavar="N",
        help="maximum tokens of a passage, including special tokens "
        f"(default: the model's own, else {DEFAULT_MAX_TOKENS})",
    )
