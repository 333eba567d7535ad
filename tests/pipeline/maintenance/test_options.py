"""The options of the maintenance commands check themselves, and argparse has their defaults."""

from typing import Any

import pytest

from pipeline.maintenance.options import (
    CompactOptions,
    DeleteOptions,
    IndexCommandOptions,
    TuneOptions,
    VacuumOptions,
)
from pipeline.parser import build_parser
from transforms.errors import BadInput
from transforms.index.options import IndexOptions, LexicalOptions


@pytest.mark.parametrize(
    ("make", "given", "option"),
    [
        (VacuumOptions, {"keep": 0}, "keep"),
        (CompactOptions, {"max_segments": 0}, "max_segments"),
        (CompactOptions, {"rows_per_part": 0}, "rows_per_part"),
        (CompactOptions, {"recall_target": 1.5}, "recall_target"),
        (CompactOptions, {"gpu": "always"}, "gpu"),
        (TuneOptions, {"queries": 0}, "queries"),
        (TuneOptions, {"plot": "plot.png"}, "plot"),
        (IndexCommandOptions, {"vector": IndexOptions("none")}, "index"),
        (IndexCommandOptions, {"vector": None, "lexical": LexicalOptions("none")}, "lexical"),
        (
            IndexCommandOptions,
            {"vector": None, "lexical": LexicalOptions(), "recall_questions": "q.txt"},
            "recall_questions",
        ),
        (DeleteOptions, {}, "ids"),
        (DeleteOptions, {"ids": ("a",), "file": "ids.txt"}, "ids"),
    ],
)
def test_options_check_themselves(make: type[Any], given: dict[str, Any], option: str) -> None:
    with pytest.raises(BadInput) as caught:
        make(**given)
    assert caught.value.option == option


def test_a_compaction_keeps_the_old_index_unless_another_is_given() -> None:
    assert CompactOptions(memory=10**9).index_options("hnsw", 0.9) == IndexOptions(
        "hnsw", 0.9, memory=10**9
    )
    given = CompactOptions(index="flat", recall_target=0.8, shards=2)
    assert given.index_options("hnsw", 0.9) == IndexOptions("flat", 0.8, shards=2)


def test_the_command_line_has_the_defaults_of_the_options() -> None:
    parse = build_parser().parse_args
    vacuum = parse(["vacuum", "store"])
    assert VacuumOptions(vacuum.keep, vacuum.older_than, vacuum.dry_run) == VacuumOptions()
    compact = parse(["compact", "store"])
    assert compact.max_segments == CompactOptions.max_segments
    assert (compact.runner, compact.index) == (CompactOptions.runner, CompactOptions.index)
    assert parse(["tune", "store"]).queries == TuneOptions.queries
