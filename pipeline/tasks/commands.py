"""``albeam classify``, ``evaluate-task`` and ``predict``: parsed arguments to options."""

from typing import Any

from pipeline.tasks.arguments import label_options, row_options
from pipeline.tasks.options import ClassifyOptions, EvaluateTaskOptions, PredictOptions
from transforms.models.options import Placement
from transforms.tasks.options import HeadOptions


def run_classify(arguments: Any) -> None:
    """Run ``albeam classify``."""
    from pipeline.tasks.classify import run
    from pipeline.tasks.report import print_head

    given = arguments
    options = ClassifyOptions(
        store=given.store,
        labels=tuple(given.labels),
        output=given.output,
        columns=label_options(given),
        snapshot=given.snapshot,
        head=HeadOptions(
            given.strength, given.folds, given.held_out, given.class_weights, given.seed
        ),
    )
    print_head(run(options), given.json)


def run_evaluate_task(arguments: Any) -> None:
    """Run ``albeam evaluate-task``."""
    from pipeline.tasks.evaluate_task import run
    from pipeline.tasks.report import print_evaluation

    given = arguments
    options = EvaluateTaskOptions(
        head=given.head,
        data=tuple(given.data),
        store=given.store,
        snapshot=given.snapshot,
        report=given.report,
        columns=label_options(given),
        rows=row_options(given),
        passages=tuple(given.passages),
        model=given.model,
        stride=given.stride,
        placement=Placement(given.device, given.dtype),
        seed=given.seed,
    )
    print_evaluation(run(options), given.json)


def run_predict(arguments: Any) -> None:
    """Run ``albeam predict``."""
    from pipeline.tasks.predict import run
    from pipeline.tasks.report import print_predictions

    given = arguments
    options = PredictOptions(
        head=given.head,
        inputs=tuple(given.inputs),
        store=given.store,
        snapshot=given.snapshot,
        output=given.output,
        column=given.column,
        id_column=given.id_column,
        text_column=given.text_column,
        question_column=given.question_column,
        context_column=given.context_column,
        model=given.model,
        stride=given.stride,
        placement=Placement(given.device, given.dtype),
        rows_per_part=given.rows_per_part,
        runner=given.runner,
        beam_args=given.beam_args,
    )
    print_predictions(run(options), given.json)
