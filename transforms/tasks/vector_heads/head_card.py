"""The model card of a head on stored vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from transforms.tasks.networks.cards import model_card
from transforms.tasks.vector_heads.vector_head import VectorHead

_USAGE = """\
from transforms.tasks.vector_heads.head_files import read_head

head = read_head("{folder}")
scores = head.scores(vectors)  # float32: a row for each document, a column for each class"""
_MEASURED = (
    "The metrics are those of a head like this one, fitted without the documents that were held "
    "out. This one is fitted on all."
)
#: The most classes that the card names.
_MOST_NAMES = 30
_UNMEASURED = "No document was held out, so nothing was measured."


def head_card(folder: str, head: VectorHead, data: Mapping[str, object]) -> str:
    """Return the model card in Markdown.

    Args:
        folder: the name of the head's folder.
        head: the head.
        data: facts about the labelled documents, by name.
    """
    kind = "any number of classes" if head.classes.several else "one class"
    settings, losses = head.settings, head.settings.get("log_losses", {})
    metrics = head.metrics.get("values", {})
    how = "cross-validation" if losses else "the default or an option"
    return model_card(
        folder,
        f"It gives a document {kind}: a logistic regression on the vectors that a store has, by "
        "`albeam classify`. `albeam predict` labels documents with it, and so does "
        "`albeam embed --classify`.",
        data={
            **data,
            "documents": settings.get("documents", 0),
            "of these held out to measure": settings.get("held_out_documents", 0),
            "classes": _listed(head.classes.names),
        },
        settings={
            "encoder": Path(name).name if (name := head.encoder.name).startswith("/") else name,
            "width of its vectors": head.encoder.dim,
            "strength": f"{settings.get('strength', 0):g}, by {how}",
            **{f"log loss with strength {each}": f"{loss:.4f}" for each, loss in losses.items()},
            "class weights": settings.get("class_weights", "none"),
            "seed": settings.get("seed", 0),
        },
        metrics={name.replace("_", " "): value for name, value in metrics.items()},
        usage=_USAGE.format(folder=folder),
        limits=(
            "It reads vectors of this encoder alone; those of another one mean nothing to it.",
            "The vector of a document is the mean of its passages: a class that one passage of a "
            "long document decides may be missed.",
        ),
        measured=_MEASURED if metrics else _UNMEASURED,
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
