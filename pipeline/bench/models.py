"""The model folders that ``albeam bench`` measures."""

import json
import shutil
from pathlib import Path

from transforms.models.options import DEFAULT_MODEL, ModelOptions
from transforms.models.resolve import find_model

#: The shapes whose weights are random.
RANDOM = ("albert-base",)
#: ALBERT-base in its second version, except for the vocabulary, which is the tokenizer's.
BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "embedding_size": 128,
    "hidden_act": "gelu_new",
    "max_position_embeddings": 512,
}


def model_folder(shape: str, work: Path) -> str:
    """Return name or folder of the model of a shape; albert-base is written to ``work``."""
    return DEFAULT_MODEL if shape == DEFAULT_MODEL else str(write_base(work / shape))


def write_base(folder: Path) -> Path:
    """Write ALBERT-base with seeded random weights and albeam-small's tokenizer.

    transformers, sentence-transformers and albeam load the folder offline: mean pooling,
    normalized, 512 tokens.
    """
    from transformers import AlbertConfig, AlbertModel, set_seed

    small = Path(find_model(ModelOptions(DEFAULT_MODEL)).folder)
    vocabulary = json.loads((small / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    set_seed(0)
    # A range this wide gives different texts different vectors.
    config = AlbertConfig(vocab_size=vocabulary, initializer_range=0.04, **BASE)
    network = AlbertModel(config, add_pooling_layer=False)
    network.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "modules.json"):
        shutil.copy(small / name, folder / name)
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 512}))
    lengths = {"max_seq_length": 512, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(lengths))
    for module in ("1_Pooling", "2_Normalize"):
        (folder / module).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": 768, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder
