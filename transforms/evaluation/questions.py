"""Questions with known answers."""

from dataclasses import dataclass

from transforms.errors import BadInput
from transforms.search.questions import question_text, read_rows


@dataclass(frozen=True)
class Question:
    """A question, the ids of the documents that answer it, and the answers where they are known.

    No answer at all, ``()``, says that there is none to be found; None that it is not known.
    """

    question_id: str
    question: str
    relevant: tuple[str, ...]
    answers: tuple[str, ...] | None = None


def load_questions(url: str) -> list[Question]:
    """The questions of a Parquet or JSONL file.

    Raises:
        BadInput: a field is missing, a question is blank or has no relevant document, or an id is
            there twice.
    """
    questions: list[Question] = []
    seen: set[str] = set()
    for number, row in enumerate(read_rows(url, ("question_id", "question", "relevant"))):
        relevant, answers = row["relevant"], row.get("answers")
        if not isinstance(relevant, list) or not relevant or None in relevant:
            raise BadInput(
                f"row {number} of {url!r} has relevant {relevant!r}; "
                "give a list of at least one document id"
            )
        if answers is not None and not isinstance(answers, list):
            raise BadInput(f"row {number} of {url!r} has answers {answers!r}; give a list of texts")
        name = str(row["question_id"])
        if name in seen:
            raise BadInput(
                f"row {number} of {url!r} has question_id {name!r} once more; give each question "
                "an id of its own"
            )
        seen.add(name)
        questions.append(
            Question(
                name,
                question_text(url, number, row),
                tuple(str(document) for document in relevant),
                None if answers is None else tuple(str(answer) for answer in answers),
            )
        )
    return questions
