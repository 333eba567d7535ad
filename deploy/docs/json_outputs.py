"""What each command prints with ``--json``: a dataclass of its own, or the keys that stand here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Key:
    """A key of a JSON object: its name, its type in words, its meaning."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True)
class Output:
    """What a command prints.

    Attributes:
        about: a sentence about the whole.
        source: file and name of the dataclass whose fields are the keys, or None.
        keys: further keys, or all where there is no dataclass.
        nested: dataclasses that only ``keys`` mention.
    """

    about: str
    source: tuple[str, str] | None = None
    keys: tuple[Key, ...] = ()
    nested: tuple[tuple[str, str], ...] = ()


_EVALUATE = (
    Key("questions", "integer", "number of questions"),
    Key("metrics", "object of number", "without `--modes` and `--beside`: each metric's mean"),
    Key("modes", "object of object", "mode, then metric: the mean over the questions"),
    Key(
        "intervals",
        "object of array or of object",
        "metric, or mode and then metric: `[low, high]`, the 95 % interval",
    ),
    Key("success", "object of array", "mode: success@1, success@2, … down to `-k`, at most 100"),
    Key(
        "latency",
        "object of object",
        "mode, then stage: `p50`, `p95` and `p99` in milliseconds, one question at a time",
    ),
    Key("relevant_ids", "integer", "number of relevant ids, each counted once"),
    Key("unknown_ids", "integer", "number of relevant ids that the store lacks"),
    Key(
        "cut_questions", "integer", "number of questions that are longer than what the model reads"
    ),
    Key("unknown_questions", "integer", "number of questions that are mostly unknown to the model"),
    Key("notice", "string", "what else the user should know; often empty"),
)
_BENCH = (
    Key("machine", "object", "platform, processor, threads, device, date, versions"),
    Key("corpora", "object of string", "whether a corpus is real or made up"),
    Key(
        "rows",
        "array of object",
        "a row for each shape, corpus and system: `system`, `shape`, `corpus`, "
        "`tokens_per_second`, `peak_share`, `padding`, `dtype`, `least_cosine`, "
        "`ndcg_at_10`, `texts`, `tokens`, `rounds`, `rates`, `note`; some have `startup_seconds`, "
        "`bare_rates` and `e2e_share`",
    ),
    Key("sample", "object", "`passages` and `questions` of `ndcg_at_10`; if measured"),
    Key("tokenizer", "object", "`tokens_per_second`, `again_tokens_per_second`; if measured"),
    Key("memory", "object", "`rows`, `peak_bytes`, `ratio`; if measured"),
    Key("store", "object", "what a sync and opening a store cost; if measured"),
    Key("targets", "array of object", "each target with what was measured and `passed`"),
)
_SNAPSHOTS = (
    Key("snapshot", "integer", "its number"),
    Key("created", "string", "when it was committed"),
    Key("command", "string", "which command committed it"),
    Key("segments", "array of string", "names of the live segments"),
    Key("documents", "integer", "live documents"),
    Key("passages", "integer", "live passages"),
    Key("rejects", "object of integer", "reason: number of rejected rows"),
    Key("model", "object", "the model's identity"),
    Key("damaged", "string", "instead of all but `snapshot`, where its file can't be read"),
)
_DEMO = (
    Key("summary", "object", "the keys of `albeam embed`"),
    Key("right", "integer", "questions whose expected object is among the first five hits"),
    Key(
        "answers",
        "array of object",
        "each question with what was `expected` and `found`, and its `answer`",
    ),
)
_HIT = ("transforms/search/results.py", "Hit")
_ANSWER = Key(
    "answer", "`Answer` or null", "with `--reader`: the best span of the passage, if there is one"
)
_TRAINED = ("pipeline/training/result.py", "TrainingResult")
_ROWS_TRAINED = ("pipeline/training/result.py", "RowsResult")

OUTPUTS: dict[str, Output] = {
    "embed": Output("", ("pipeline/ingest/embed_summary.py", "EmbedSummary")),
    "watch": Output("Printed when the watch ends.", ("pipeline/ingest/watch.py", "WatchSummary")),
    "plan": Output("", ("pipeline/ingest/plan.py", "PlanReport")),
    "search": Output(
        "An array of hits, best first; with `--questions` one array, a line, for each question.",
        _HIT,
        (_ANSWER,),
        (("transforms/search/reader.py", "Answer"),),
    ),
    "search --output": Output("", ("pipeline/search/batch_search.py", "RunSummary")),
    "ask": Output(
        "With `--questions` an object, a line, for each question.",
        ("transforms/search/answering.py", "Answered"),
    ),
    "similar": Output(
        "Of two texts:",
        keys=(Key("similarity", "number", "the cosine of both texts, from -1 to 1"),),
    ),
    "similar --pairs": Output("", ("pipeline/search/similar.py", "SimilarSummary")),
    "bundle": Output("", ("transforms/bundles/summary.py", "BundleSummary")),
    "evaluate": Output(
        "`metrics` for one mode; with `--modes` or `--beside` `modes`, `success` and `latency` "
        "instead.",
        None,
        _EVALUATE,
    ),
    "evaluate --tune": Output("", ("pipeline/evaluation/tune_weight.py", "WeightReport")),
    "evaluate --calibrate": Output("", ("pipeline/evaluation/calibrate.py", "CalibrationReport")),
    "compare": Output("", ("pipeline/evaluation/compare.py", "Comparison")),
    "classify": Output("", ("pipeline/tasks/classify.py", "ClassifySummary")),
    "predict": Output("", ("pipeline/tasks/predict.py", "PredictSummary")),
    "evaluate-task": Output("", ("pipeline/tasks/evaluate_task.py", "TaskEvaluation")),
    "delete": Output("", ("pipeline/maintenance/delete.py", "DeleteSummary")),
    "snapshots": Output("An array of objects, the oldest snapshot first.", None, _SNAPSHOTS),
    "rollback": Output("", ("pipeline/maintenance/rollback.py", "RollbackSummary")),
    "vacuum": Output("", ("pipeline/maintenance/vacuum.py", "VacuumSummary")),
    "compact": Output("", ("pipeline/maintenance/compact.py", "CompactSummary")),
    "index": Output("", ("pipeline/maintenance/index.py", "IndexSummary")),
    "tune": Output("", ("pipeline/maintenance/tune.py", "TuneReport")),
    "verify": Output("", ("pipeline/maintenance/verify.py", "VerifyReport")),
    "demo": Output("", None, _DEMO),
    "doctor": Output("", ("pipeline/runners/doctor.py", "Diagnosis")),
    "pretrain": Output(
        "Progress goes to stderr.", ("pipeline/training/pretrain.py", "PretrainingResult")
    ),
    "distill": Output("Progress goes to stderr.", _TRAINED),
    "finetune retrieve": Output("Progress goes to stderr.", _TRAINED),
    "finetune classify": Output("Progress goes to stderr.", _ROWS_TRAINED),
    "finetune tag": Output("Progress goes to stderr.", _ROWS_TRAINED),
    "finetune read": Output("Progress goes to stderr.", _ROWS_TRAINED),
    "finetune rerank": Output("Progress goes to stderr.", _TRAINED),
    "finetune similar": Output("Progress goes to stderr.", _TRAINED),
    "compress": Output(
        "Progress goes to stderr.", ("pipeline/compression/summary.py", "CompressSummary")
    ),
    "export": Output("", ("transforms/compression/onnx_export/summary.py", "ExportSummary")),
    "bench": Output("`--json FILE` writes the same to a file.", None, _BENCH),
}
