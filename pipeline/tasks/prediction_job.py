"""The Beam job that writes predictions into a folder, and resumes by part."""

from pipeline.runners.dataflow import embedding_hints
from pipeline.runners.launch import make_pipeline, pipeline_options, run_pipeline
from pipeline.runners.progress import show_progress
from pipeline.tasks.options import PredictOptions
from pipeline.tasks.sources import Source
from transforms.catalog.integrity import intact_parts
from transforms.catalog.layout import segment_name
from transforms.catalog.parts import complete_parts
from transforms.catalog.segment import PartInfo
from transforms.ingest.write_parts import WriteParts
from transforms.storage import filesystem
from transforms.tasks.prediction.prediction_files import PredictionPaths, prepare_folder


def write_predictions(
    source: Source, options: PredictOptions
) -> tuple[PredictionPaths, tuple[PartInfo, ...], int]:
    """Write the parts that are not finished.

    Args:
        source: the documents, and how they are predicted.
        options: with an output.

    Returns:
        The paths, all parts, and how many of them an earlier run had finished.

    Raises:
        BadInput: the output has other files, or the predictions of another run.
    """
    assert options.output is not None
    identity = {**source.identity, "rows_per_part": options.rows_per_part}
    paths = PredictionPaths(filesystem.absolute(options.output), segment_name(identity))
    prepare_folder(paths)
    plan = paths.read_plan() or paths.create_plan(source.plan())
    source.check(plan, paths.plan)
    done = intact_parts(paths)
    pending = [part.number for part in plan.parts if part.number not in done]
    if pending:
        beam_options = pipeline_options(options.runner, options.beam_args)
        pipeline = make_pipeline(options.runner, beam_options)
        hints = embedding_hints(pipeline.options) if source.hinted else {}
        write = WriteParts(paths, source.form)
        predicted = source.predict(pipeline, paths, pending)
        _ = predicted | "WriteParts" >> write.with_resource_hints(**hints)
        rows = sum(plan.parts[number].rows for number in pending)
        with show_progress(paths, len(plan.parts), len(done), rows, "finishing"):
            run_pipeline(pipeline)
    return paths, complete_parts(paths, len(plan.parts), ()), len(done)
