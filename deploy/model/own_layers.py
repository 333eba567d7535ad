"""Make an ALBERT whose layers share no weights from some of the layers of a BERT.

`python -m deploy.model.own_layers --bert FOLDER --texts T.parquet… --layers 0,1,2,3 --output MODEL`
keeps the attention of each layer as it is, so that a short training is enough for tasks that
compare two texts. What makes the BERT large is cut: the word pieces that the texts seldom have, the
rank of the embeddings, and the inner units that are seldom active. The result is a folder that
`albeam finetune`, `albeam distill`, transformers and sentence-transformers load.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer
from transformers import AlbertModel, BertModel, PreTrainedTokenizerFast

from transforms.errors import BadInput
from transforms.models.model_files import refusing
from transforms.training.export import write_model
from transforms.training.initialization import (
    LAYER_NAMES,
    SAME_AS,
    albert_config,
    check_source,
    factorize,
)
from transforms.training.options import StudentShape

Int64 = npt.NDArray[np.int64]
Weights = dict[str, npt.NDArray[np.float32]]
#: Texts that are tokenized at once, and those whose activations rank the inner units.
_AT_ONCE, _SAMPLE = 2_000, 300
#: Tokens of a text in that sample, and tokens of a step of the fit of the embeddings.
_LONGEST, _STEP_TOKENS = 128, 2_048
#: The first characters of Unicode, which stay whole pieces, so that few words are unknown.
_LETTERS = 0x250


def count_pieces(tokenizer: Tokenizer, texts: Sequence[str]) -> Int64:
    """Return how often each piece of a tokenizer occurs in texts, ``[pieces]``."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        for encoding in tokenizer.encode_batch(some, add_special_tokens=False):
            np.add.at(counts, encoding.ids, 1)
    return counts


def choose_pieces(names: Sequence[str], counts: Int64, size: int) -> Int64:
    """Return the ids of the pieces to keep, in order.

    The special pieces and the single letters of Latin scripts are kept, then the most frequent.

    Args:
        names: the pieces in the order of their ids.
        counts: how often each occurs.
        size: the pieces to keep.

    Raises:
        BadInput: there are fewer pieces, or ``size`` does not cover those that must be kept.
    """
    must = [
        number
        for number, name in enumerate(names)
        if name in SAME_AS.values() or (len(name.removeprefix("##")) == 1 and _is_letter(name))
    ]
    if not len(must) <= size <= len(names):
        problem = f"must be from {len(must)} to {len(names)}, the pieces of the model"
        raise BadInput("vocab_size", size, problem, "Give a number between")
    ranked = np.lexsort((np.arange(len(names)), -counts))
    rest = ranked[~np.isin(ranked, must)][: size - len(must)]
    return np.sort(np.concatenate([np.asarray(must, np.int64), rest]))


def _is_letter(name: str) -> bool:
    return ord(name[-1]) < _LETTERS


def smaller_tokenizer(tokenizer: Tokenizer, kept: Int64) -> Tokenizer:
    """Return a WordPiece tokenizer with the pieces of some ids, renumbered in their order."""
    spec: dict[str, Any] = json.loads(tokenizer.to_str())
    old = spec["model"]["vocab"]
    names = {number: name for name, number in old.items()}
    new = {names[int(number)]: place for place, number in enumerate(kept)}
    spec["model"]["vocab"] = new
    spec["added_tokens"] = [
        {**token, "id": new[token["content"]]}
        for token in spec["added_tokens"]
        if token["content"] in new
    ]
    for token in spec["post_processor"].get("special_tokens", {}).values():
        token["ids"] = [new[name] for name in token["tokens"]]
    for part in ("cls", "sep"):
        if part in spec["post_processor"]:
            name = spec["post_processor"][part][0]
            spec["post_processor"][part] = [name, new[name]]
    spec["truncation"] = spec["padding"] = None
    return Tokenizer.from_str(json.dumps(spec))


def active_units(bert: Any, rows: Iterable[torch.Tensor], layer: int, count: int) -> Int64:
    """Return the inner units of a layer that contribute most to its output, in order.

    A unit contributes the sum of its absolute activations, times the norm of its output weights.

    Args:
        bert: the BERT.
        rows: the token ids of texts.
        layer: the number of the layer.
        count: the units to return.
    """
    block = bert.encoder.layer[layer]
    total = torch.zeros(block.intermediate.dense.out_features)

    def add(_module: object, _given: object, found: torch.Tensor) -> None:
        total.add_(found.abs().sum((0, 1)))

    handle = block.intermediate.register_forward_hook(add)
    with torch.inference_mode():
        for ids in rows:
            bert(input_ids=ids[None])
    handle.remove()
    strength = (total * block.output.dense.weight.detach().norm(dim=0)).numpy()
    return np.sort(np.argsort(-strength, kind="stable")[:count])


def fit_embeddings(albert: Any, bert: Any, kept: Int64, counts: Int64, steps: int) -> float:
    """Fit an ALBERT's embeddings to what a BERT's give for pieces at random places.

    Args:
        albert: the ALBERT, with first embeddings; changed in place.
        bert: the BERT.
        kept: the BERT's id of each piece of the ALBERT.
        counts: how often each of these pieces occurs.
        steps: steps of Adam.

    Returns:
        The share of the variance of the BERT's embeddings that is not explained at the end.
    """
    generator = torch.Generator().manual_seed(0)
    own, given = albert.embeddings, bert.embeddings
    mapping = albert.encoder.embedding_hidden_mapping_in
    places = own.position_embeddings.num_embeddings
    shares = torch.from_numpy((counts + 1.0) ** 0.75)
    numbers = torch.from_numpy(kept)
    optimizer = torch.optim.Adam([*own.parameters(), *mapping.parameters()], lr=2e-3)
    share = 1.0
    for step in range(steps):
        ids = torch.multinomial(shares, _STEP_TOKENS, replacement=True, generator=generator)
        at = torch.randint(0, places, (_STEP_TOKENS,), generator=generator)
        with torch.no_grad():
            words = given.word_embeddings(numbers[ids]) + given.position_embeddings(at)
            target = given.LayerNorm(words + given.token_type_embeddings.weight[0])
        words = own.word_embeddings(ids) + own.position_embeddings(at)
        found = mapping(own.LayerNorm(words + own.token_type_embeddings.weight[0]))
        gap = (found - target).square().sum() / (target - target.mean(0)).square().sum()
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        optimizer.zero_grad()
        gap.backward()
        optimizer.step()
        share = gap.item()
    return share


def own_layers(bert: Any, shape: StudentShape, kept: Int64, counts: Int64) -> Any:
    """Return an ALBERT with the lower layers of a BERT, all inner units still to be chosen.

    Args:
        bert: the BERT.
        shape: the sizes of the ALBERT; as many groups as layers.
        kept: the BERT's id of each piece of the ALBERT.
        counts: how often each of these pieces occurs.
    """
    given = {name: value.numpy() for name, value in bert.state_dict().items()}
    made = factorize(
        words=given["embeddings.word_embeddings.weight"][kept],
        positions=given["embeddings.position_embeddings.weight"][: shape.positions],
        kinds=given["embeddings.token_type_embeddings.weight"],
        gain=given["embeddings.LayerNorm.weight"],
        shift=given["embeddings.LayerNorm.bias"],
        weights=np.sqrt(counts.astype(np.float32) + 1),
        width=shape.embedding,
    )
    # Texts of a pair must differ from the first step on: a model of single texts has no second.
    kinds = np.random.default_rng(0).normal(scale=0.15, size=(2, shape.embedding))
    kinds[0] = 0
    made["embeddings.token_type_embeddings.weight"] = kinds.astype(np.float32)
    albert = AlbertModel(albert_config(shape), add_pooling_layer=False)
    state = {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in made.items()}
    albert.load_state_dict(state, strict=False)
    return albert.eval()


def copy_layer(bert: Any, albert: Any, layers: tuple[int, int], units: Int64) -> None:
    """Copy a layer of a BERT with some of its inner units to a layer of an ALBERT, in place."""
    source = bert.encoder.layer[layers[0]].state_dict()
    target = albert.encoder.albert_layer_groups[layers[1]].albert_layers[0]
    copied = {
        f"{own}.{kind}": source[f"{name}.{kind}"]
        for name, own in LAYER_NAMES.items()
        for kind in ("weight", "bias")
    }
    copied["ffn.weight"] = copied["ffn.weight"][units]
    copied["ffn.bias"] = copied["ffn.bias"][units]
    copied["ffn_output.weight"] = copied["ffn_output.weight"][:, units]
    target.load_state_dict(copied)


def make(
    folder: Path,
    texts: Sequence[str],
    shape: StudentShape,
    taken: Sequence[int],
    steps: int,
    output: Path,
) -> float:
    """Write an ALBERT that starts from a BERT's folder; return what `fit_embeddings` returns.

    Args:
        folder: the BERT's folder.
        texts: they rank the pieces and the inner units.
        shape: the sizes of the ALBERT.
        taken: the BERT's layer for each of the ALBERT's, from 0.
        steps: those of `fit_embeddings`.
        output: the folder to write.

    Raises:
        BadInput: the folder holds no BERT of word pieces that has such layers.
    """
    check_source(folder, shape)
    with refusing(str(folder), "can't be loaded", "Restore the model's files"):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        bert = BertModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    depth = bert.config.num_hidden_layers
    if len(taken) != shape.layers or not all(0 <= layer < depth for layer in taken):
        problem = f"must be {shape.layers} numbers from 0 to {depth - 1}, the layers of {folder}"
        raise BadInput("layers", ",".join(map(str, taken)), problem, "Give such layers")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    counts = count_pieces(tokenizer, texts)
    numbers = tokenizer.get_vocab()
    names = sorted(numbers, key=numbers.__getitem__)
    kept = choose_pieces(names, counts, shape.vocab_size)
    smaller = smaller_tokenizer(tokenizer, kept)
    counts = count_pieces(smaller, texts)
    albert = own_layers(bert, shape, kept, counts)
    some = texts[:: max(1, len(texts) // _SAMPLE)][:_SAMPLE]
    ids = [torch.from_numpy(kept[each.ids[:_LONGEST]]) for each in smaller.encode_batch(some)]
    for layers in zip(taken, range(shape.layers), strict=True):
        copy_layer(bert, albert, layers, active_units(bert, ids, layers[0], shape.intermediate))
    share = fit_embeddings(albert, bert, kept, counts, steps)
    special = {name.strip("[]").lower() + "_token": name for name in SAME_AS.values()}
    fast = PreTrainedTokenizerFast(tokenizer_object=smaller, **special)
    weights: Weights = {name: value.numpy() for name, value in albert.state_dict().items()}
    write_model(output, albert.config, weights, fast, shape.positions)
    return share


def main() -> None:
    """Convert, and print what the embeddings do not explain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bert", type=Path, required=True, help="folder of a BERT")
    parser.add_argument("--texts", type=Path, nargs="+", required=True, help="column text")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--layers", default="0,1,2,3", help="those to take, from 0")
    parser.add_argument("--intermediate", type=int, default=768)
    parser.add_argument("--vocab-size", type=int, default=12_000)
    parser.add_argument("--positions", type=int, default=384)
    parser.add_argument("--steps", type=int, default=1_500, help="of the fit of the embeddings")
    given = parser.parse_args()
    tables = [pq.read_table(path, columns=["text"]) for path in given.texts]
    texts: list[str] = pa.concat_tables(tables)["text"].to_pylist()
    taken = [int(layer) for layer in given.layers.split(",")]
    hidden = json.loads((given.bert / "config.json").read_text(encoding="utf-8"))
    shape = StudentShape(
        vocab_size=given.vocab_size,
        layers=len(taken),
        groups=len(taken),
        hidden=hidden["hidden_size"],
        heads=hidden["num_attention_heads"],
        intermediate=given.intermediate,
        positions=given.positions,
    )
    share = make(given.bert, texts, shape, taken, given.steps, given.output)
    print(f"{given.output}: the embeddings leave {share:.3f} of the variance unexplained")


if __name__ == "__main__":
    main()
