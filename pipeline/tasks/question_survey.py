"""The input of ``albeam predict`` with a reader: which columns of its files are read."""

import pyarrow.types as pt

from pipeline.tasks.options import LabelOptions, PredictOptions
from transforms.catalog.options import ColumnOptions
from transforms.errors import BadInput
from transforms.ingest.survey import Survey, read_footer, survey_input
from transforms.storage import filesystem
from transforms.storage.filesystem import FileInfo
from transforms.storage.input_files import find_inputs
from transforms.tasks.prediction.answers import PASSAGE_ID, QUESTION_ID

#: The columns of ids that are read if the files have them.
_QUESTION_IDS, _DOCUMENT_ID = ("question_id", "id"), "document_id"


def survey_questions(options: PredictOptions) -> Survey:
    """Survey files of questions with their passages.

    The question is read as the id of a row, since each row has one. Its id and that of its passage
    are further columns, where the files have them.

    Raises:
        BadInput: the input can't be used.
    """
    files = list(find_inputs(tuple(filesystem.absolute(url) for url in options.inputs)).files)
    footers = [read_footer(file, options.context_column).columns for file in files]

    def has(name: str) -> bool:
        return all(columns.times(name) == 1 for columns in footers)

    given = options.id_column != LabelOptions.id_column
    names = (options.id_column,) if given else _QUESTION_IDS
    metadata = [(QUESTION_ID, name) for name in names if given or has(name)][:1]
    if has(_DOCUMENT_ID):
        metadata.append((PASSAGE_ID, _DOCUMENT_ID))
    columns = ColumnOptions(
        options.question_column, options.context_column, metadata=tuple(metadata)
    )
    survey = _survey(files, columns)
    for field, (_, name) in zip(survey.schema, metadata, strict=True):
        if not (pt.is_integer(field.type) or pt.is_string(field.type)):
            problem = f"has the type {field.type}"
            raise BadInput("column", name, problem, "Convert it to text or whole numbers")
    return survey


def _survey(files: list[FileInfo], columns: ColumnOptions) -> Survey:
    """Survey files; errors about columns name the options of a reader."""
    try:
        return survey_input(files, columns)
    except BadInput as error:
        option, problem, remedy = map(_named, (error.option, error.problem, error.remedy))
        raise BadInput(option, error.value, problem, remedy) from error


def _named(words: str) -> str:
    """Return an error's words with the columns of a reader."""
    for key, name in (("id", "question"), ("text", "context")):
        for gap in (" ", "-"):
            words = words.replace(f"{key}{gap}column", f"{name}{gap}column")
    return words
