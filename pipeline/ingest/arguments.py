"""The options of ``albeam embed``, ``plan`` and ``watch``."""

import argparse

from pipeline.command_line.argument_types import seconds, whole_number
from pipeline.command_line.shared_arguments import (
    Container,
    engine_argument,
    lexical_arguments,
    model_arguments,
    placement_arguments,
    recall_questions_argument,
    runner_argument,
    vector_index_arguments,
)
from pipeline.ingest.options import (
    MODES,
    ON_DUPLICATE,
    VECTOR_DTYPES,
    EmbedOptions,
    PlanOptions,
    WatchCommandOptions,
)
from transforms.catalog.options import ColumnOptions
from transforms.models.options import DEFAULT_MAX_TOKENS, POOLINGS, ModelOptions


def embed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam embed``."""
    parser.usage = "albeam embed INPUT... --store STORE [options] [Beam options]"
    _input_argument(parser)
    _store_argument(parser)
    model_arguments(parser)
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=EmbedOptions.mode,
        help="append: add and replace documents; sync: also remove documents that the input lacks; "
        "replace: start from an empty store (default: %(default)s)",
    )
    parser.add_argument(
        "--on-duplicate",
        choices=ON_DUPLICATE,
        default=EmbedOptions.on_duplicate,
        help="which of several rows with the same id counts (default: %(default)s)",
    )
    vectors = _embedding_arguments(parser)
    _label_arguments(parser)
    vector_index_arguments(vectors)
    recall_questions_argument(vectors)
    lexical_arguments(vectors)
    running = _running_arguments(parser)
    running.add_argument(
        "--no-resume",
        action="store_true",
        help="start again instead of resuming an earlier run of this command",
    )
    runner_argument(running)


def watch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam watch``."""
    parser.usage = (
        "albeam watch INPUT... --store STORE --runner prism|flink [options] [Beam options]"
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="folders, or globs in quotes; any fsspec URL"
    )
    _store_argument(parser)
    model_arguments(parser)
    parser.add_argument(
        "--every",
        type=seconds,
        default=WatchCommandOptions.every,
        metavar="TIME",
        help="time between two polls of the inputs; a file is taken if it did not change between "
        f"two polls (default: {WatchCommandOptions.every:g}s)",
    )
    parser.add_argument(
        "--until-idle",
        type=seconds,
        metavar="TIME",
        help="stop after this time without a new file, such as 5m (default: never)",
    )
    parser.add_argument(
        "--max-segments",
        type=whole_number,
        default=WatchCommandOptions.max_segments,
        metavar="N",
        help="compact to half as many segments if there are more (default: %(default)s)",
    )
    vectors = _embedding_arguments(parser)
    _label_arguments(parser)
    vector_index_arguments(vectors)
    lexical_arguments(vectors)
    runner_argument(_running_arguments(parser))


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``albeam plan``."""
    parser.usage = "albeam plan INPUT... [options] [Beam options]"
    _input_argument(parser)
    model_arguments(parser)
    parser.add_argument(
        "--rows",
        type=whole_number,
        metavar="N",
        help="plan as if the input had N rows like its own (default: the rows that it has)",
    )
    parser.add_argument(
        "--parallel",
        type=whole_number,
        default=PlanOptions.parallel,
        metavar="N",
        help="workers that embed at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--tokens-per-second",
        type=float,
        metavar="R",
        help="speed of one worker (default: the measured speed of this machine)",
    )
    parser.add_argument(
        "--price-per-hour", type=float, metavar="P", help="price of one worker, in any currency"
    )
    vectors = _embedding_arguments(parser)
    vector_index_arguments(vectors)
    # It has no effect on a plan. It is here so that it is refused for the right reason.
    vectors.add_argument("--recall-questions", help=argparse.SUPPRESS)
    _part_argument(parser)
    placement_arguments(parser)
    engine_argument(parser)
    runner_argument(parser)


def _input_argument(parser: Container) -> None:
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="Parquet files, folders of them, or globs in quotes; any fsspec URL",
    )


def _store_argument(parser: Container) -> None:
    parser.add_argument("--store", required=True, help="folder of the store; any fsspec URL")


def _label_arguments(parser: argparse.ArgumentParser) -> None:
    labels = parser.add_argument_group("labels")
    labels.add_argument(
        "--classify",
        metavar="HEAD",
        help="label each document by its vectors with this head, which albeam classify wrote",
    )
    labels.add_argument(
        "--as",
        dest="label_column",
        metavar="COLUMN",
        help="metadata column of the labels",
    )


def _running_arguments(parser: argparse.ArgumentParser) -> Container:
    """Add the options of the run itself, and return their group."""
    running = parser.add_argument_group("running")
    placement_arguments(running)
    engine_argument(running)
    _part_argument(running)
    return running


def _part_argument(parser: Container) -> None:
    def auto_or_whole(value: str) -> int | None:
        return None if value == "auto" else whole_number(value)

    parser.add_argument(
        "--rows-per-part",
        type=auto_or_whole,
        default=EmbedOptions.rows_per_part,
        metavar="N",
        help="input rows of a part (an output file), or auto for about half a minute of work "
        "(default: auto)",
    )


def _embedding_arguments(parser: argparse.ArgumentParser) -> Container:
    """Add the options of columns, passages and vectors, and return the group of the latter two."""
    columns = parser.add_argument_group("columns")
    columns.add_argument(
        "--id-column",
        default=ColumnOptions.id_column,
        metavar="NAME",
        help="column of the ids, strings or integers (default: %(default)s)",
    )
    columns.add_argument(
        "--text-column",
        default=ColumnOptions.text_column,
        metavar="NAME",
        help="column of the texts (default: %(default)s)",
    )
    columns.add_argument(
        "--metadata-columns",
        default="",
        metavar="A,B",
        help="further columns to keep; new=old renames one, also with --all-columns; a name with "
        "commas or equals signs is written in double quotes, and the second of two columns 'a' as "
        "a#2",
    )
    columns.add_argument(
        "--all-columns",
        action="store_true",
        help="keep every further column of all files, and of their folders such as month=5",
    )
    columns.add_argument(
        "--exclude-columns",
        default="",
        metavar="A,B",
        help="columns that --all-columns leaves out",
    )
    vectors = parser.add_argument_group("passages and vectors")
    vectors.add_argument(
        "--max-tokens",
        type=whole_number,
        metavar="N",
        help="maximum tokens of a passage, including special tokens "
        f"(default: the model's own, else {DEFAULT_MAX_TOKENS})",
    )
    vectors.add_argument(
        "--stride",
        type=whole_number,
        default=EmbedOptions.stride,
        metavar="N",
        help="minimum tokens that adjacent passages share (default: %(default)s)",
    )
    vectors.add_argument(
        "--pooling",
        choices=POOLINGS,
        help="how token states become one vector (default: the model's own, else mean)",
    )
    vectors.add_argument(
        "--layer",
        type=int,
        default=ModelOptions.layer,
        metavar="N",
        help="hidden states to pool: 0 for the embeddings, -1 for the last layer "
        "(default: %(default)s)",
    )
    vectors.add_argument(
        "--no-normalize",
        action="store_true",
        help="keep the lengths of the vectors, so that scores are inner products "
        "(default: as the model says, else normalize)",
    )
    own = "(default: the model's own, else none)"
    vectors.add_argument("--query-prompt", metavar="TEXT", help=f"text before each question {own}")
    vectors.add_argument("--passage-prompt", metavar="TEXT", help=f"text before each passage {own}")
    vectors.add_argument(
        "--vector-dtype",
        choices=VECTOR_DTYPES,
        default=EmbedOptions.vector_dtype,
        help="dtype of the stored vectors (default: %(default)s)",
    )
    return vectors
