"""``albeam evaluate-task`` with a tagger: entities of texts against known ones."""

from pipeline.tasks.measured import Measured
from pipeline.tasks.options import EvaluateTaskOptions
from transforms.errors import BadInput
from transforms.tasks.data.bio import Span, entities
from transforms.tasks.data.labels import Classes
from transforms.tasks.data.tag_rows import TagRows, read_tagged
from transforms.tasks.metrics.entity_metrics import entity_metrics
from transforms.tasks.metrics.entity_page import entity_page, worst_entities
from transforms.tasks.networks.network_files import network_digest, read_network
from transforms.tasks.networks.text_tagger import TextTagger


def measure_entities(options: EvaluateTaskOptions) -> Measured:
    """Find the entities of known texts, and compare them.

    Raises:
        BadInput: the head or the rows can't be used, or they have a type that the head lacks.
    """
    settings = read_network(options.head, "tag")
    columns = options.rows
    rows = read_tagged(
        options.data,
        "data",
        tokens=columns.tokens_column,
        tags=columns.tags_column,
        text=options.columns.text_column,
        spans=columns.spans_column,
    )
    known = [_spans(rows, row) for row in range(len(rows))]
    _check_types(rows, known, settings.classes)
    tagger = TextTagger(options.head, options.placement)
    # Words of rows of spans are cut at the ends of entities, which a tagger must find itself.
    found = tagger.entities(rows.texts, rows.words if columns.spans_column is None else None)
    predicted = [[Span(each.start, each.end, each.type) for each in some] for some in found]
    scores = [[each.score for each in some] for some in found]
    metrics = entity_metrics(known, predicted, scores, seed=options.seed)
    notices = {
        f"{rows.repaired:,} tags I- that continue no entity are read as B-.": rows.repaired,
        f"{rows.lost:,} entities of white space alone are left out.": rows.lost,
    }
    return Measured(
        source=rows.source,
        rows=len(rows),
        left_out=0,
        metrics=metrics,
        page=lambda: entity_page(metrics, worst_entities(rows.texts, known, predicted, scores)),
        identity=[
            ("network", "trained by albeam finetune tag"),
            ("tokens of a window", f"{settings.max_tokens:,}"),
            ("sha256", network_digest(options.head)),
        ],
        notice=" ".join(notice for notice, count in notices.items() if count),
    )


def _spans(rows: TagRows, row: int) -> list[Span]:
    """Return the entities of a row in code points of its text."""
    words = rows.words[row]
    return [
        Span(int(words[each.start, 0]), int(words[each.end - 1, 1]), each.type)
        for each in entities(rows.tags[row])
    ]


def _check_types(rows: TagRows, known: list[list[Span]], classes: Classes) -> None:
    types = {name[2:] for name in classes.names}
    for some in known:
        for each in some:
            if each.type not in types:
                raise BadInput(
                    rows.option,
                    rows.source,
                    f"has entities of the type {each.type[:80]!r}, which no training row has",
                    "Remove them, or train with rows of that type",
                )
