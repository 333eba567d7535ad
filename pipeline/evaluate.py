"""``albeam evaluate``: how well a store answers questions whose answers are known."""

from typing import Any

from pipeline.search import read_rows
from transforms.errors import BadInput
from transforms.metrics import Question, measure
from transforms.store import Store

_AT_ONCE = 512


def run(store: Store, questions: str, k: int, mode: str) -> dict[str, Any]:
    """Search every question of a file and measure the ranking by document.

    Returns:
        ``{"questions": n, "metrics": {name: value}}``.

    Raises:
        BadInput: the questions can't be read or used.
    """
    asked = load_questions(questions)
    runs: dict[str, list[tuple[str, float]]] = {}
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        found = store.search([question.question for question in some], k, mode)
        for question, hits in zip(some, found, strict=True):
            runs[question.question_id] = [(hit.document_id, hit.score) for hit in hits]
    return {"questions": len(asked), "metrics": measure(asked, runs, k)}


def load_questions(url: str) -> list[Question]:
    """The questions of a Parquet or JSONL file.

    Raises:
        BadInput: a field is missing, or a question has no relevant document.
    """
    questions = []
    for number, row in enumerate(read_rows(url, ("question_id", "question", "relevant"))):
        relevant = row["relevant"]
        if not isinstance(relevant, list) or not relevant or None in relevant:
            raise BadInput(
                f"row {number} of {url!r} has relevant {relevant!r}; "
                "give a list of at least one document id"
            )
        questions.append(
            Question(
                str(row["question_id"]),
                str(row["question"]),
                tuple(str(document) for document in relevant),
            )
        )
    return questions
