"""The student before training: an ALBERT whose weights come from its BERT teacher.

All arrays are float32 and named as in transformers' `AlbertModel`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file
from transformers import AlbertConfig

from transforms.errors import BadInput

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


@dataclass(frozen=True)
class Shape:
    """The student's size; the defaults are those of albeam-small."""

    vocab_size: int = 27_000
    layers: int = 6
    groups: int = 2
    hidden: int = 384
    heads: int = 12
    intermediate: int = 768
    embedding: int = 128
    positions: int = 512

    def config(self) -> AlbertConfig:
        """Write the shape as an AlbertConfig without dropout."""
        return AlbertConfig(
            vocab_size=self.vocab_size,
            embedding_size=self.embedding,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_hidden_groups=self.groups,
            num_attention_heads=self.heads,
            intermediate_size=self.intermediate,
            max_position_embeddings=self.positions,
            hidden_act="gelu",  # the teacher's; twice as fast on CPU as the tanh form
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )


def word_pieces(teacher: Path) -> list[str]:
    """List a BERT teacher's vocabulary in order; empty where it is not of word pieces."""
    if (teacher / "vocab.txt").is_file():
        return (teacher / "vocab.txt").read_text(encoding="utf-8").split("\n")
    if not (teacher / "tokenizer.json").is_file():
        return []
    kept = json.loads((teacher / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if kept.get("type") != "WordPiece":
        return []
    return sorted(kept["vocab"], key=lambda piece: int(kept["vocab"][piece]))


def whole_words(teacher: Path) -> list[str]:
    """List the English words that are one piece of the teacher's vocabulary, if it tells it."""
    return [name for name in word_pieces(teacher) if name.isascii() and name.isalnum()]


def check_source(folder: Path, shape: Shape) -> None:
    """Raise BadInput unless a student of that shape can start from a teacher's layers."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") != "bert":
        raise BadInput(
            f"teacher {folder} is a {config.get('model_type')}, and a student starts from the "
            "layers of a BERT: name one such as all-MiniLM-L6-v2, or a --student"
        )
    if (most := int(config["max_position_embeddings"])) < shape.positions:
        raise BadInput(
            f"teacher {folder} has {most} positions, fewer than the student's {shape.positions}: "
            f"set --positions {most} or less"
        )
    if (width := int(config["hidden_size"])) != shape.hidden:
        raise BadInput(
            f"teacher {folder} is {width} wide, and the student {shape.hidden}: "
            f"set --hidden {width}"
        )
    if (inner := int(config["intermediate_size"])) < shape.intermediate:
        raise BadInput(
            f"teacher {folder} is {inner} wide inside, less than the student's "
            f"{shape.intermediate}: set --intermediate {inner} or less"
        )
    unknown = set(SAME_AS.values()) - set(word_pieces(folder))
    if unknown:
        raise BadInput(
            f"teacher {folder} has no word piece {min(unknown)}: name a BERT with its own tokenizer"
        )


def split_as_teacher(piece: str, vocabulary: Mapping[str, int]) -> list[int]:
    """Split one of our pieces into the teacher's word pieces, longest first.

    A piece that begins a word becomes initial word pieces, another one continuations ("##…").
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
    """Average the teacher's rows [n, dim] of each of our pieces: float32 [pieces, dim]."""
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
    """Subtract each row's mean and divide by its deviation; returns rows and deviations."""
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

    words [pieces, dim], positions [n, dim] and kinds [k, dim] are summed and layer-normalized
    (gain, shift) by the teacher. The SVD is taken of what that gives for each word at the mean
    position, weighted by the words' frequencies [pieces]; its mean becomes the mapping's bias.
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
    """Choose for each group the middle one of the teacher's layers that it stands for."""
    return [int((group + 0.5) * teacher / groups) for group in range(groups)]


def strongest(into: Array, out: Array, count: int) -> npt.NDArray[np.int64]:
    """Choose the `count` inner units with the largest weights, in their order.

    into: [units, dim] and out: [dim, units] of a feed-forward layer; a unit's strength is the
    product of its two weights' norms.
    """
    strength = np.linalg.norm(into, axis=1) * np.linalg.norm(out, axis=0)
    return np.sort(np.argsort(-strength, kind="stable")[:count])


def start_weights(
    teacher: Path, shape: Shape, pieces: Sequence[str], counts: Sequence[int]
) -> dict[str, Array]:
    """Make the student's first weights from a BERT teacher's folder.

    pieces: the student's vocabulary in order; counts: how often each occurs in the texts. The
    folder has passed `check_source`. Raises BadInput where its weights are not a BERT's.
    """
    found = load_file(teacher / "model.safetensors")
    weights = {name.removeprefix("bert."): array for name, array in found.items()}
    if "embeddings.word_embeddings.weight" not in weights:
        raise BadInput(
            f"teacher {teacher} is not a BERT model, from whose layers the student starts: "
            "name a BERT such as all-MiniLM-L6-v2"
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
        # The square root, lest "the" and the comma rule the basis.
        weights=np.sqrt(np.asarray(counts, dtype=np.float32) + 1),
        width=shape.embedding,
    )
    depth = 1 + max(int(n.split(".")[2]) for n in weights if n.startswith("encoder.layer."))
    for group, layer in enumerate(source_layers(depth, shape.groups)):
        copied = {
            f"{ours}.{kind}": weights[f"encoder.layer.{layer}.{theirs}.{kind}"].astype(np.float32)
            for theirs, ours in LAYER_NAMES.items()
            for kind in ("weight", "bias")
        }
        kept = strongest(copied["ffn.weight"], copied["ffn_output.weight"], shape.intermediate)
        copied["ffn.weight"] = copied["ffn.weight"][kept]
        copied["ffn.bias"] = copied["ffn.bias"][kept]
        copied["ffn_output.weight"] = copied["ffn_output.weight"][:, kept]
        for name, array in copied.items():
            made[f"encoder.albert_layer_groups.{group}.albert_layers.0.{name}"] = array
    return {name: np.ascontiguousarray(array) for name, array in made.items()}
