"""The student's first weights: an ALBERT that starts from the layers of its BERT teacher.

All arrays are float32 and named as in transformers' `AlbertModel`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from transformers import AlbertConfig

from transforms.errors import BadInput
from transforms.training.options import StudentShape

Array = npt.NDArray[np.float32]
SPACE = "▁"
SAME_AS = {
    "<pad>": "[PAD]",
    "<unk>": "[UNK]",
    "[CLS]": "[CLS]",
    "[SEP]": "[SEP]",
    "[MASK]": "[MASK]",
}
LAYER_NAMES = {
    "attention.self.query": "attention.query",
    "attention.self.key": "attention.key",
    "attention.self.value": "attention.value",
    "attention.output.dense": "attention.dense",
    "attention.output.LayerNorm": "attention.LayerNorm",
    "intermediate.dense": "ffn",
    "output.dense": "ffn_output",
    "output.LayerNorm": "full_layer_layer_norm",
}


def albert_config(shape: StudentShape) -> AlbertConfig:
    """Return the config of a shape, without dropout."""
    return AlbertConfig(
        vocab_size=shape.vocab_size,
        embedding_size=shape.embedding,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_hidden_groups=shape.groups,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.positions,
        hidden_act="gelu",  # the teacher's; twice as fast on CPU as the tanh form
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def word_pieces(teacher: Path) -> list[str]:
    """Return a BERT teacher's vocabulary in order; empty if it has no word pieces."""
    if (teacher / "vocab.txt").is_file():
        return (teacher / "vocab.txt").read_text(encoding="utf-8").split("\n")
    if not (teacher / "tokenizer.json").is_file():
        return []
    saved = json.loads((teacher / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if saved.get("type") != "WordPiece":
        return []
    return sorted(saved["vocab"], key=lambda piece: int(saved["vocab"][piece]))


def whole_words(teacher: Path) -> list[str]:
    """Return the English words that are one piece of the teacher's vocabulary."""
    return [name for name in word_pieces(teacher) if name.isascii() and name.isalnum()]


def check_source(folder: Path, shape: StudentShape) -> None:
    """Raise BadInput unless a student of that shape can start from a teacher's layers."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert":
        raise BadInput(
            "teacher",
            str(folder),
            f"is of type {config.get('model_type')}, and a new student starts from a BERT",
            "Name a BERT such as all-MiniLM-L6-v2, or give a --student",
        )
    if (most := int(config["max_position_embeddings"])) < shape.positions:
        raise BadInput(
            "teacher",
            str(folder),
            f"has {most} positions, fewer than the student's {shape.positions}",
            f"Set --positions {most} or less",
        )
    if (width := int(config["hidden_size"])) != shape.hidden:
        raise BadInput(
            "teacher",
            str(folder),
            f"has the hidden size {width}, and the student {shape.hidden}",
            f"Set --hidden {width}",
        )
    if (inner := int(config["intermediate_size"])) < shape.intermediate:
        raise BadInput(
            "teacher",
            str(folder),
            f"has the intermediate size {inner}, less than the student's {shape.intermediate}",
            f"Set --intermediate {inner} or less",
        )
    unknown = set(SAME_AS.values()) - set(word_pieces(folder))
    if unknown:
        raise BadInput(
            "teacher",
            str(folder),
            f"has no word piece {min(unknown)}",
            "Name a BERT with its own tokenizer",
        )


def split_as_teacher(piece: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Split a piece of the student into the numbers of the teacher's word pieces, longest first.

    A piece that starts a word becomes initial word pieces; any other becomes continuations ("##…").
    Characters that the teacher lacks are left out.
    """
    inner = not piece.startswith(SPACE)
    rest, found = piece.lstrip(SPACE), []
    while rest:
        for end in range(len(rest), 0, -1):
            number = vocabulary.get(("##" if inner else "") + rest[:end])
            if number is None and end == 1:
                number = vocabulary.get(rest[:end])
            if number is not None:
                found.append(number)
                break
        rest, inner = rest[end:], rest[0].isalnum()
    return found


def word_rows(pieces: Sequence[str], vocabulary: Mapping[str, int], rows: Array) -> Array:
    """Average the teacher's rows [n, dim] for each piece of the student: float32 [pieces, dim]."""
    unknown = rows[vocabulary["[UNK]"]]
    made = np.empty((len(pieces), rows.shape[1]), dtype=np.float32)
    for number, piece in enumerate(pieces):
        if piece in SAME_AS:
            made[number] = rows[vocabulary[SAME_AS[piece]]]
        else:
            found = split_as_teacher(piece, vocabulary)
            made[number] = rows[found].mean(axis=0) if found else unknown
    return made


def standardize(rows: Array) -> tuple[Array, Array]:
    """Subtract each row's mean and divide by its deviation; return rows and deviations."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return (centred / deviation).astype(np.float32), deviation.astype(np.float32)


def factorize(
    *,
    words: Array,
    positions: Array,
    kinds: Array,
    gain: Array,
    shift: Array,
    weights: Array,
    width: int,
) -> dict[str, Array]:
    """Express the teacher's embedding layer in `width` dimensions by a weighted SVD.

    The teacher sums the embeddings of word, position and token type, and normalizes the sum. The
    SVD is that of the result for each word at the mean position. Its mean becomes the bias of the
    mapping.

    Args:
        words: [pieces, dim].
        positions: [n, dim].
        kinds: the embeddings of token types, [k, dim].
        gain: the gain of the layer norm.
        shift: the shift of the layer norm.
        weights: the weight of each word, [pieces].
        width: dimensions of the result.
    """
    place = positions.mean(axis=0)
    normal, deviation = standardize(words + place + kinds[0])
    target = normal * gain + shift
    share = (weights / weights.sum()).astype(np.float32)
    middle = (share[:, None] * target).sum(axis=0)
    covariance = (target - middle).T @ (share[:, None] * (target - middle))
    _, directions = np.linalg.eigh(covariance.astype(np.float64))
    basis = directions[:, ::-1][:, :width].astype(np.float32)
    codes = (target - middle) @ basis
    moved = ((positions - place) * gain / (share @ deviation[:, 0])) @ basis
    scale = np.float32(np.sqrt((share * (codes**2).mean(axis=1)).sum()))
    return {
        "embeddings.word_embeddings.weight": codes,
        "embeddings.position_embeddings.weight": moved,
        "embeddings.token_type_embeddings.weight": np.zeros((len(kinds), width), np.float32),
        "embeddings.LayerNorm.weight": np.ones(width, np.float32),
        "embeddings.LayerNorm.bias": np.zeros(width, np.float32),
        "encoder.embedding_hidden_mapping_in.weight": basis * scale,
        "encoder.embedding_hidden_mapping_in.bias": middle,
    }


def source_layers(teacher: int, groups: int) -> list[int]:
    """Return for each group the middle one of the teacher's layers that it replaces."""
    return [int((group + 0.5) * teacher / groups) for group in range(groups)]


def strongest(into: Array, out: Array, count: int) -> npt.NDArray[np.int64]:
    """Return the `count` inner units of a feed-forward layer with the largest weights, in order.

    The strength of a unit is the product of the norms of its two weights, ``into`` [units, dim] and
    ``out`` [dim, units].
    """
    strength = np.linalg.norm(into, axis=1) * np.linalg.norm(out, axis=0)
    return np.sort(np.argsort(-strength, kind="stable")[:count])


def start_weights(
    teacher: Path, shape: StudentShape, pieces: Sequence[str], counts: Sequence[int]
) -> dict[str, Array]:
    """Build the student's first weights from a BERT teacher's folder.

    Args:
        teacher: a folder that has passed `check_source`.
        shape: the student's size.
        pieces: the student's vocabulary in order.
        counts: how often each piece occurs in the texts.

    Raises:
        BadInput: the weights are not those of a BERT.
    """
    found = load_file(teacher / "model.safetensors")
    weights = {name.removeprefix("bert."): array for name, array in found.items()}
    if "embeddings.word_embeddings.weight" not in weights:
        raise BadInput(
            "teacher",
            str(teacher),
            "has no weights of a BERT, and a new student starts from them",
            "Name a BERT such as all-MiniLM-L6-v2",
        )
    e = "embeddings."
    rows = weights[e + "word_embeddings.weight"].astype(np.float32)
    vocabulary = {name: number for number, name in enumerate(word_pieces(teacher))}
    made = factorize(
        words=word_rows(pieces, vocabulary, rows),
        positions=weights[e + "position_embeddings.weight"][: shape.positions].astype(np.float32),
        kinds=weights[e + "token_type_embeddings.weight"].astype(np.float32),
        gain=weights[e + "LayerNorm.weight"].astype(np.float32),
        shift=weights[e + "LayerNorm.bias"].astype(np.float32),
        # The square root keeps frequent tokens such as "the" from dominating the basis.
        weights=np.sqrt(np.asarray(counts, dtype=np.float32) + 1),
        width=shape.embedding,
    )
    depth = 1 + max(int(n.split(".")[2]) for n in weights if n.startswith("encoder.layer."))
    for group, layer in enumerate(source_layers(depth, shape.groups)):
        copied = {
            f"{albert}.{kind}": weights[f"encoder.layer.{layer}.{bert}.{kind}"].astype(np.float32)
            for bert, albert in LAYER_NAMES.items()
            for kind in ("weight", "bias")
        }
        kept = strongest(copied["ffn.weight"], copied["ffn_output.weight"], shape.intermediate)
        copied["ffn.weight"] = copied["ffn.weight"][kept]
        copied["ffn.bias"] = copied["ffn.bias"][kept]
        copied["ffn_output.weight"] = copied["ffn_output.weight"][:, kept]
        for name, array in copied.items():
            made[f"encoder.albert_layer_groups.{group}.albert_layers.0.{name}"] = array
    return {name: np.ascontiguousarray(array) for name, array in made.items()}
