"""``albeam evaluate --calibrate``: fit how sure a reader's answers are, and keep it beside it."""

from dataclasses import dataclass, replace

from pipeline.evaluation.options import EvaluateOptions
from transforms.errors import BadInput
from transforms.evaluation.answer_fit import Candidates, Fit, fit
from transforms.evaluation.questions import load_questions
from transforms.search.answer_scales import ANY, SCALES, write_scales
from transforms.search.questions import name_of
from transforms.search.reader import Answer
from transforms.search.reading import Reading
from transforms.search.results import Hit
from transforms.search.store import Store
from transforms.storage import filesystem
from transforms.storage.output_files import check_writable

_AT_ONCE = 256


@dataclass(frozen=True)
class CalibrationReport:
    """The calibration of a reader. The shares and errors are those of held-out folds.

    Attributes:
        reader: the reader.
        file: the file that keeps the calibration.
        questions: number of questions.
        read: number of documents that were read for each.
        exact_match: the share of the questions whose best answer is right.
        span_alone: that share if the reader's score alone chooses the answer.
        brier: the mean squared difference of probability and truth.
        calibration_error: the mean difference of probability and share of right answers, in ten
            bins of probability.
        retrieval: the weight of the hit's score.
        no_answer: the weight that the score of no answer is taken away with.
        slope, offset: those of the logistic function.
    """

    reader: str
    file: str
    questions: int
    read: int
    exact_match: float
    span_alone: float
    brier: float
    calibration_error: float
    retrieval: float
    no_answer: float
    slope: float
    offset: float


def calibrate(store: Store, options: EvaluateOptions, read: int) -> CalibrationReport:
    """Read the hits of questions, fit the scales of their answers, and write them.

    Besides that of this ranking, a scale is fitted that leaves the hits' scores out. It counts
    wherever hits were ranked in another way.

    Args:
        store: the store.
        options: the questions, the models, and how to search, in the only mode of ``modes``.
        read: how many documents are read for each question.

    Raises:
        BadInput: the questions or the reader can't be used, there are too few answers, or the
            reader's folder can't be written to.
    """
    file, asked = name_of(options.questions), load_questions(options.questions)
    for number, question in enumerate(asked):
        if question.answers is None:
            problem = f"has no 'answers' in row {number}, which tell whether a reader is right"
            remedy = "Give each row a list of texts, or an empty list if there is no answer"
            raise BadInput("questions", file, problem, remedy)
    models = Reading(options.reading)
    output = filesystem.join(models.reader.folder, SCALES)
    check_writable("reader", output, ".json")
    [mode] = options.modes
    ranking = replace(options.rank, k=read, mode=mode)
    found: list[tuple[list[Hit], list[Answer | None]]] = []
    for start in range(0, len(asked), _AT_ONCE):
        texts = [question.question for question in asked[start : start + _AT_ONCE]]
        found += models.search(store, texts, ranking)
    candidates = Candidates.of(found, [question.answers or () for question in asked])
    try:
        own = fit(candidates, seed=options.seed)
        alone = fit(candidates, hits_count=False, seed=options.seed)
    except BadInput as error:
        raise BadInput("questions", file, error.problem, error.remedy) from error
    scales = {models.ranking(mode): own.scale, ANY: alone.scale}
    write_scales(models.reader.folder, scales, models.reader.scales)
    return _report(options, output, len(asked), read, own)


def _report(
    options: EvaluateOptions, file: str, questions: int, read: int, found: Fit
) -> CalibrationReport:
    shares = (found.exact_match, found.span_alone, found.brier, found.calibration_error)
    return CalibrationReport(
        str(options.reading.reader),
        file,
        questions,
        read,
        *(round(each, 4) for each in shares),
        **vars(found.scale),
    )
