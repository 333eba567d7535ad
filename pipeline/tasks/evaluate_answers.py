"""``albeam evaluate-task`` with a reader: answers against known ones, by SQuAD's rules."""

from pipeline.tasks.measured import Measured
from pipeline.tasks.options import EvaluateTaskOptions
from transforms.tasks.data.answer_rows import read_answered, read_passages
from transforms.tasks.metrics.answer_page import answer_page, worst_answers
from transforms.tasks.metrics.text_metrics import answer_metrics
from transforms.tasks.networks.network_files import network_digest, read_reader
from transforms.tasks.networks.text_reader import TextReader


def measure_answers(options: EvaluateTaskOptions) -> Measured:
    """Answer known questions, and compare.

    Raises:
        BadInput: the head or the rows can't be used.
    """
    settings = read_reader(options.head)
    columns = options.rows
    rows = read_answered(
        options.data,
        "data",
        passages=read_passages(options.passages) if options.passages else None,
        question=columns.question_column,
        context=columns.context_column,
        answers=columns.answers_column,
        no_answer=settings.no_answer,
    )
    passages = [rows.passages[place] for place in rows.places]
    found = TextReader(options.head, options.placement).answers(rows.questions, passages)
    answers = ["" if each is None else each.text for each in found]
    scores = [0.0 if each is None else each.score for each in found]
    metrics = answer_metrics(answers, rows.answers, seed=options.seed)
    reasons = [f"{count:,} rows have {reason}." for reason, count in rows.rejected.items()]
    return Measured(
        source=rows.source,
        rows=len(rows),
        left_out=sum(rows.rejected.values()),
        metrics=metrics,
        page=lambda: answer_page(
            metrics,
            rows.questions,
            answers,
            rows.answers,
            scores,
            worst_answers(rows.questions, passages, answers, rows.answers, scores),
        ),
        identity=[
            ("network", "trained by albeam finetune read"),
            ("tokens of a window", f"{settings.max_tokens:,}"),
            ("may find no answer", "yes" if settings.no_answer else "no"),
            ("sha256", network_digest(options.head)),
        ],
        notice=" ".join(reasons),
    )
