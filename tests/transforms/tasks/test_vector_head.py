"""Heads on stored vectors: what they learn, and which folders are refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.linear_model import LogisticRegression

from tests.support.raising import raises
from tests.support.stores import make_identity, make_vectors
from transforms.errors import BadInput
from transforms.tasks.data.labels import Classes
from transforms.tasks.options import STRENGTHS, HeadOptions
from transforms.tasks.vector_heads.fit_head import choose_strength, fit_head
from transforms.tasks.vector_heads.head_card import head_card
from transforms.tasks.vector_heads.head_files import (
    check_head_output,
    read_head,
    read_same_head,
    write_head,
)
from transforms.tasks.vector_heads.vector_head import VectorHead, document_vectors

ENCODER = make_identity()
ABC = Classes(("a", "b", "c"))


def separable(rows: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Vectors near the middle of their class, in a seeded order."""
    codes = np.random.default_rng(1).integers(0, classes, rows)
    vectors = make_vectors(classes, seed=5)[codes] + 0.3 * make_vectors(rows, seed=6)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), codes


def fitted(rows: int = 120, **options: Any) -> VectorHead:
    return fit_head(*separable(rows), ABC, ENCODER, HeadOptions(**options))[0]


def test_a_head_is_a_logistic_regression_of_scikit_learn() -> None:
    vectors, codes = separable(120)
    head = fitted(strength=3.0)
    theirs = LogisticRegression(C=3.0, max_iter=1000).fit(vectors, codes)
    assert np.allclose(head.scores(vectors), theirs.predict_proba(vectors), atol=1e-3)
    assert head.scores(vectors).dtype == np.float32
    assert head.metrics["values"]["accuracy"] > 0.9
    assert head.settings["held_out_documents"] == head.metrics["rows"] == 24


def test_two_classes_and_rare_ones_are_fitted() -> None:
    vectors, codes = separable(60, 2)
    head, _ = fit_head(vectors, codes, Classes(("no", "yes")), ENCODER, HeadOptions())
    theirs = LogisticRegression(C=head.settings["strength"]).fit(vectors, codes)
    assert np.allclose(head.scores(vectors), theirs.predict_proba(vectors), atol=1e-2)
    codes[:] = 0
    codes[[0, 1]] = 1, 2
    rare, _ = fit_head(vectors, codes, ABC, ENCODER, HeadOptions(class_weights="balanced"))
    assert rare.scores(vectors)[:3].argmax(axis=1).tolist() == [1, 2, 0]


def test_so_few_rows_that_nothing_is_held_out_are_fitted() -> None:
    head, metrics = fit_head(make_vectors(3), np.arange(3), ABC, ENCODER, HeadOptions())
    assert (metrics, head.metrics, head.settings["log_losses"]) == (None, {}, {})
    assert head.scores(make_vectors(3)).argmax(axis=1).tolist() == [0, 1, 2]


def test_a_document_may_have_several_classes() -> None:
    vectors, codes = separable(90)
    known = np.stack([codes == 0, codes <= 1, np.ones(90, bool)], axis=1)
    classes = Classes(("first", "early", "all"), several=True)
    head, _ = fit_head(vectors, known, classes, ENCODER, HeadOptions())
    assert ((head.scores(vectors) >= 0.5) == known).mean() > 0.95
    assert (head.scores(vectors)[:, 2] > 0.999).all()


def test_the_strength_is_the_first_within_a_standard_error_of_the_best() -> None:
    vectors, codes = separable(120)
    strength, losses = choose_strength(vectors, codes, ABC, HeadOptions())
    assert strength in STRENGTHS
    assert min(losses.values()) <= losses[f"{strength:g}"] < losses[f"{STRENGTHS[0]:g}"]
    assert choose_strength(vectors, codes, ABC, HeadOptions()) == (strength, losses)


def test_a_document_is_the_mean_of_its_passages_with_length_1() -> None:
    passages = np.array([[1, 0], [0, 1], [0, 3], [0, 0]], np.float32)
    found = document_vectors(np.array([0, 2, 3]), passages)
    assert np.allclose(found, [[2**-0.5, 2**-0.5], [0, 1], [0, 0]])


def test_a_head_of_another_encoder_is_refused_by_its_name() -> None:
    head = fitted()
    head.check_encoder("h", make_identity(name="moved"), "the store")
    other = make_identity(name="models/other", weights_sha256="f" * 64)
    with raises(BadInput, "head", "h", "models/other"):
        head.check_encoder("h", other, "the store")


def test_a_written_head_is_read_again(tmp_path: Path) -> None:
    head = fitted()
    check_head_output(str(tmp_path / "new" / "head"))
    write_head(str(tmp_path / "new" / "head"), head, "# A head")
    found = read_head(str(tmp_path / "new" / "head"))
    assert (found.classes, found.encoder) == (head.classes, head.encoder)
    assert np.array_equal(found.weights, head.weights)
    assert found.settings["strength"] == head.settings["strength"]
    assert found.metrics["values"] == head.metrics["values"]
    # It may be replaced by another head.
    check_head_output(str(tmp_path / "new" / "head"))


def test_other_files_are_not_lost(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with raises(BadInput, "output", tmp_path):
        check_head_output(str(tmp_path))
    with raises(BadInput, "output", tmp_path / "letter.txt"):
        check_head_output(str(tmp_path / "letter.txt"))


def test_a_network_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text('{"version": 1, "kind": "network"}')
    with raises(BadInput, "output", tmp_path):
        check_head_output(str(tmp_path))


def test_the_card_of_a_head_says_what_was_measured() -> None:
    measured = head_card("topics", fitted(), {"labels": "a.parquet"})
    assert "fitted without the documents that were held out" in measured
    assert f"| accuracy | {fitted().metrics['values']['accuracy']:.4f} |" in measured
    card = head_card("topics", fitted(30, strength=1.0, held_out=0.0), {"labels": "a.parquet"})
    assert "nothing was measured" in card
    assert "| strength | 1, by the default or an option |" in card
    assert "accuracy" not in card
    many = replace(fitted(30), classes=Classes(tuple(f"c{number}" for number in range(40))))
    assert "c28, c29 and 10 more |" in head_card("topics", many, {})


def change(**values: Any) -> Callable[[Path], None]:
    """Return a function that replaces values in a head's JSON, by their dotted names."""

    def apply(folder: Path) -> None:
        stored = json.loads((folder / "head.json").read_text())
        for name, value in values.items():
            inner = stored
            *way, last = name.split("__")
            for step in way:
                inner = inner[step]
            inner[last] = value
        (folder / "head.json").write_text(json.dumps(stored))

    return apply


def tensors(**changes: Any) -> Callable[[Path], None]:
    """Return a function that replaces tensors of a head, and records their digest."""

    def apply(folder: Path) -> None:
        import hashlib

        file = folder / "head.safetensors"
        save_file(load_file(file) | changes, file)
        change(weights_sha256=hashlib.sha256(file.read_bytes()).hexdigest())(folder)

    return apply


def flip(folder: Path) -> None:
    content = bytearray((folder / "head.safetensors").read_bytes())
    content[-3] ^= 1
    (folder / "head.safetensors").write_bytes(content)


def link_out(folder: Path) -> None:
    shutil.move(folder / "head.safetensors", folder.parent / "elsewhere.safetensors")
    (folder / "head.safetensors").symlink_to(folder.parent / "elsewhere.safetensors")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda folder: (folder / "head.json").unlink(), "has no head.json"),
        (lambda folder: (folder / "head.json").write_text("[]"), "list"),
        (lambda folder: (folder / "head.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "head.safetensors").unlink(), "has no head.safetensors"),
        (lambda folder: (folder / "head.safetensors").write_bytes(b"x"), "1 bytes"),
        (lambda folder: (folder / "head.safetensors").write_bytes(bytes(1 << 20)), "at most"),
        (flip, "SHA-256"),
        (link_out, "out of its folder"),
        (change(version=9), "9"),
        (change(kind="pickle"), "pickle"),
        (change(more=1), "unknown keys"),
        (change(classes__names=["a", "b"]), "shapes"),
        (change(classes__names=["a", "b", "b"]), "2 are different"),
        (change(classes__names=["a", "b", "c" * 1001]), "too long"),
        (change(classes__integers=True), "'a'"),
        (change(encoder__dim=1 << 40), "vectors"),
        (change(encoder__dim="8"), "encoder"),
        (tensors(bias=np.array([0, np.nan, 0], np.float32)), "bias"),
        (tensors(bias=np.zeros(3, np.int32)), "bias"),
        (tensors(more=np.zeros(3, np.float32)), "shapes"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    tmp_path: Path, damage: Callable[[Path], Any], problem: str
) -> None:
    folder = tmp_path / "head"
    check_head_output(str(folder))
    write_head(str(folder), fitted(30, strength=1.0, held_out=0.0), "# A head")
    damage(folder)
    with raises(BadInput, "head", folder, problem):
        read_head(str(folder))


def test_a_worker_must_have_the_head_that_a_run_began_with(tmp_path: Path) -> None:
    head, folder = fitted(30), str(tmp_path / "head")
    with raises(BadInput, "head", folder, "on the worker"):
        read_same_head(folder, head.digest())
    check_head_output(folder)
    write_head(folder, head, "# A head")
    assert read_same_head(folder, head.digest()).digest() == head.digest()
    write_head(folder, replace(head, bias=head.bias + 1), "# A head")
    with raises(BadInput, "head", folder, "another head"):
        read_same_head(folder, head.digest())


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    with raises(BadInput, "head", tmp_path / "none"):
        read_head(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("strength", 0), ("folds", 1), ("held_out", 0.9), ("held_out", -0.1),
        ("class_weights", "some"), ("seed", -1),
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(name: str, value: Any) -> None:
    with raises(BadInput, name, value):
        HeadOptions(**{name: value})
