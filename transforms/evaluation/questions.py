"""Questions with known relevant documents."""

from dataclasses import dataclass

from transforms.errors import BadInput
from transforms.search.questions import name_of, question_text, read_rows


@dataclass(frozen=True)
class Question:
    """A question with the documents that answer it.

    Attributes:
        question_id: the question's id.
        question: the question's text.
        relevant: ids of the documents that answer it.
        answers: its answers; ``()`` if it has none, None if they are not known.
    """

    question_id: str
    question: str
    relevant: tuple[str, ...]
    answers: tuple[str, ...] | None = None


def load_questions(url: str) -> list[Question]:
    """Read the questions of a Parquet or JSONL file; ``-`` is standard input.

    Raises:
        BadInput: a field is missing, a question is blank or has no relevant document, or an id
            occurs twice.
    """
    file, questions = name_of(url), list[Question]()
    seen: set[str] = set()
    for number, row in enumerate(read_rows(url, ("question_id", "question", "relevant"))):
        relevant, answers = row["relevant"], row.get("answers")
        if not isinstance(relevant, list) or not relevant or None in relevant:
            problem = f"has relevant {relevant!r} in row {number}"
            raise BadInput("questions", file, problem, "Give a list of at least one document id")
        if answers is not None and not isinstance(answers, list):
            problem = f"has answers {answers!r} in row {number}"
            raise BadInput("questions", file, problem, "Give a list of texts")
        name = str(row["question_id"])
        if name in seen:
            problem = f"has question_id {name!r} again in row {number}"
            raise BadInput("questions", file, problem, "Give each question its own id")
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
