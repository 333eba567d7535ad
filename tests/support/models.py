"""Tiny seeded models and corpora."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

WORDS = (
    *("river", "stone", "window", "music", "garden", "winter", "market", "engine", "paper"),
    *("silver", "bridge", "valley", "summer", "cotton", "island", "planet", "history", "station"),
    *("doctor", "forest", "memory", "letter", "kitchen", "ocean", "village", "number", "colour"),
    *("über", "naïve", "été", "Straße", "12", "3.5", "well-known", "don't", "albeam"),
)
_SPECIALS = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Return a unigram tokenizer like ALBERT's, which can tokenize any ASCII text."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [(piece, 0.0) for piece in _SPECIALS]
    pieces += [("▁", -3.0), *((letter, -8.0) for letter in letters)]
    pieces += [(f"▁{word[:3].lower()}", -6.0) for word in WORDS if word[:3].isascii()]
    pieces += [(word[3:], -7.0) for word in WORDS if len(word) > 4 and word.isascii()]
    vocabulary = list(dict(pieces).items())
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=1))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def make_model(folder: Path, family: str = "albert", seed: int = 0) -> Path:
    """Save a tiny model of a family with its tokenizer; the same bytes for the same seed."""
    tokenizer = make_tokenizer()
    size = {"vocab_size": len(tokenizer), "max_position_embeddings": 128}
    width = {
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 96,
    }  # fmt: skip
    # A wide range, so that vectors of different texts differ.
    spread = {"initializer_range": 0.2}
    torch.manual_seed(seed)
    network: torch.nn.Module
    if family == "albert":
        network = AlbertModel(
            AlbertConfig(**size, **width, **spread, embedding_size=24, hidden_act="gelu_new"),
            add_pooling_layer=False,
        )
    elif family == "bert":
        network = BertModel(BertConfig(**size, **width, **spread), add_pooling_layer=False)
    elif family == "distilbert":
        network = DistilBertModel(
            DistilBertConfig(**size, **spread, dim=48, n_layers=3, n_heads=4, hidden_dim=96)
        )
    elif family == "roberta":
        network = RobertaModel(
            RobertaConfig(**size, **width, **spread, pad_token_id=0), add_pooling_layer=False
        )
    elif family == "mpnet":
        network = MPNetModel(MPNetConfig(**size, **width, **spread), add_pooling_layer=False)
    else:
        raise AssertionError(family)
    network.save_pretrained(folder)  # type: ignore[attr-defined]
    tokenizer.save_pretrained(folder)
    return folder


def make_pair_model(
    folder: Path, head: str, labels: int = 1, seed: int = 0, family: str = "albert"
) -> Path:
    """Save a tiny model over pairs of texts, with the head ``rank`` or ``read``."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    types = [] if family in ("distilbert", "roberta") else ["token_type_ids"]
    tokenizer.model_input_names = ["input_ids", *types, "attention_mask"]
    torch.manual_seed(seed)
    # RoBERTa counts positions from 2.
    positions = 130 if family == "roberta" else 128
    size = {
        "vocab_size": len(tokenizer), "max_position_embeddings": positions,
        "initializer_range": 0.2, "num_labels": labels,
    }  # fmt: skip
    width = {
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 96,
    }  # fmt: skip
    configs: dict[str, PretrainedConfig] = {
        "albert": AlbertConfig(**size, **width, embedding_size=24),
        "bert": BertConfig(**size, **width),
        "distilbert": DistilBertConfig(**size, dim=48, n_layers=3, n_heads=4, hidden_dim=96),
        "roberta": RobertaConfig(**size, **width, pad_token_id=0),
    }
    kinds = {"rank": AutoModelForSequenceClassification, "read": AutoModelForQuestionAnswering}
    kinds[head].from_config(configs[family]).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_texts(count: int, seed: int = 0, longest: int = 60) -> list[str]:
    """Return seeded texts of 1 to ``longest`` words; most are short."""
    chosen = random.Random(seed)
    return [
        " ".join(chosen.choices(WORDS, k=1 + int(longest * chosen.random() ** 3)))
        for _ in range(count)
    ]


def write_corpus(folder: Path, texts: list[str | None], shards: int = 1) -> Path:
    """Write documents ``doc-00000`` … with some metadata as Parquet shards, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "id": [f"doc-{number:05d}" for number in range(len(texts))],
            "text": pa.array(texts, pa.string()),
            "year": pa.array([2000 + n % 20 for n in range(len(texts))], pa.int16()),
            "tags": [[f"t{n % 3}", f"u{n % 5}"] for n in range(len(texts))],
        }
    )
    edges = [len(texts) * shard // shards for shard in range(shards + 1)]
    for shard in range(shards):
        rows = table.slice(edges[shard], edges[shard + 1] - edges[shard])
        pq.write_table(rows, folder / f"docs-{shard}.parquet", row_group_size=37)
    return folder
