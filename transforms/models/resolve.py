"""Find a model by hub name or folder, with its defaults and its identity.

This module does not import torch: a command checks a model before it loads the model. For an ALBERT
or a BERT it does not import transformers either.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.errors import BadInput
from transforms.models.config_bounds import check_sizes, check_values
from transforms.models.exported import Exported, check_exported, read_exported
from transforms.models.file_digests import hash_files, tokenizer_files, weights_files
from transforms.models.identity import FLOAT, ModelIdentity
from transforms.models.model_files import check_files, read_object, refusal, refusing
from transforms.models.options import DEFAULT_MAX_TOKENS, DEFAULT_MODEL, FLOAT_DTYPES, ModelOptions
from transforms.models.plain_config import load_plain_config, plain_config
from transforms.models.sentence_transformers import first_given, read_settings
from transforms.models.shipped import is_shipped, shipped_folder
from transforms.models.weights import read_weights
from transforms.runtime.extras import check_installed
from transforms.runtime.forks import loading

_FILES = ["*.json", "*.safetensors", "*.model", "vocab.txt", "merges.txt", "*/config.json"]
#: Families with position ids that start after the padding id.
_OFFSET_POSITIONS = frozenset(
    {"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "roberta-prelayernorm"}
)

_UNUSABLE = "has files that can't be used"
#: The positions of a family without a table of positions.
_UNBOUNDED = 1 << 20


@dataclass(frozen=True)
class Model:
    """A model that was found and checked.

    Attributes:
        folder: the local folder with the model's files.
        identity: the identity of its vectors.
        layers: the number of layers.
        hidden_size: the width of the hidden states.
        intermediate_size: the width of the feed-forward layers.
        model_type: the family's name in transformers.
        activation: transformers' name of the feed-forward activation; "" if the config has none.
        dtype: the dtype that ``auto`` means, from ``albeam_dtype`` in the config; "" if absent.
        notice: a sentence for the user if an option was reduced, or "".
        exported: what the folder says if albeam export wrote it.
    """

    folder: str
    identity: ModelIdentity
    layers: int
    hidden_size: int
    intermediate_size: int
    model_type: str
    activation: str = ""
    dtype: str = ""
    notice: str = ""
    exported: Exported | None = None


def find_model(options: ModelOptions) -> Model:
    """Find a model's files, read its settings, and check that albeam can embed with it.

    Raises:
        BadInput: there is no such model, files are missing, its architecture or modules are not
            supported, or it is not the expected model.
    """
    folder, revision = find_folder(options)
    with refusing(options.model, _UNUSABLE):
        return _describe(options, folder, revision)


def _describe(options: ModelOptions, folder: str, revision: str | None) -> Model:
    name = options.model
    exported = read_exported(folder, name)
    if exported is not None:
        return _describe_exported(options, folder, exported)
    config: Any = load_plain_config(folder, name) or load_config(folder, name)
    sentence = read_settings(folder)
    layers = int(config.num_hidden_layers)
    if not -layers - 1 <= options.layer <= layers:
        raise BadInput(
            "layer",
            options.layer,
            f"does not exist in model {options.model!r}, which has {layers} layers",
            f"Give 0 (embeddings) to {layers}, or -1 (last) to {-layers - 1}",
        )
    layer = options.layer if options.layer < 0 else options.layer - layers - 1
    max_tokens, notice = _max_tokens(options, config, sentence.get("max_tokens"))
    prompts = sentence.get("prompts", {})
    normalize = options.normalize
    if normalize is None:
        normalize = bool(sentence.get("normalize", True))
    identity = ModelIdentity(
        name=folder if revision is None and options.model != DEFAULT_MODEL else options.model,
        revision=revision,
        weights_sha256=hash_files(weights_files(folder)),
        tokenizer_sha256=hash_files(tokenizer_files(folder, options.model)),
        pooling=options.pooling or str(sentence.get("pooling", "mean")),
        layer=layer,
        normalize=normalize,
        max_tokens=max_tokens,
        query_prompt=first_given(options.query_prompt, prompts.get("query"), ""),
        passage_prompt=first_given(
            options.passage_prompt, prompts.get("document"), prompts.get("passage"), ""
        ),
        dim=int(config.hidden_size),
        precision=FLOAT if options.expected is None else options.expected.precision,
    )
    return _model(options, folder, identity, config, notice)


def _describe_exported(options: ModelOptions, folder: str, exported: Exported) -> Model:
    """Return an exported model; its identity is that of the weights it was made from."""
    name = options.model
    check_files(folder, name)
    found = read_object(folder, "config.json", name)
    check_values(found, name)
    config: Any = plain_config(found) or read_config(folder, name)
    tokenizer = hash_files(tokenizer_files(folder, name))
    check_exported(exported, options, tokenizer, config)
    max_tokens, notice = _max_tokens(options, config, exported.max_tokens)
    identity = ModelIdentity(
        name=exported.model,
        revision=exported.revision,
        weights_sha256=exported.weights_sha256,
        tokenizer_sha256=tokenizer,
        pooling=exported.pooling,
        layer=exported.layer,
        normalize=exported.normalize,
        max_tokens=max_tokens,
        query_prompt=first_given(options.query_prompt, exported.query_prompt),
        passage_prompt=first_given(options.passage_prompt, exported.passage_prompt),
        dim=exported.dim,
        precision=exported.precision,
    )
    return _model(options, folder, identity, config, notice, exported)


def _max_tokens(options: ModelOptions, config: Any, own: int | None) -> tuple[int, str]:
    """Return the tokens of a passage, and a notice if the model has room for fewer than asked."""
    positions = usable_positions(config)
    asked = options.max_tokens or own or DEFAULT_MAX_TOKENS
    used = min(asked, positions)
    if not options.max_tokens or asked <= positions:
        return used, ""
    return used, (
        f"--max-tokens {asked} is more than the {positions} positions of {options.model}; "
        f"{used} is used."
    )


def _model(
    options: ModelOptions,
    folder: str,
    identity: ModelIdentity,
    config: Any,
    notice: str,
    exported: Exported | None = None,
) -> Model:
    """Return a model, which must be the expected one."""
    if options.expected is not None and identity.difference(options.expected):
        raise BadInput(
            "model",
            options.model,
            f"is not the expected model ({identity.difference(options.expected)})",
            f"Put the model {options.expected.name!r} there",
        )
    return Model(
        folder=folder,
        identity=identity,
        layers=int(config.num_hidden_layers),
        hidden_size=int(config.hidden_size),
        intermediate_size=int(getattr(config, "intermediate_size", 4 * config.hidden_size)),
        model_type=str(config.model_type),
        activation=str(getattr(config, "hidden_act", "")),
        dtype=_dtype(config, options.model),
        notice=notice,
        exported=exported,
    )


def _dtype(config: Any, name: str) -> str:
    """Return what ``auto`` means for a model; "" if its config does not say."""
    found = getattr(config, "albeam_dtype", "")
    if found not in ("", *FLOAT_DTYPES[1:]):
        raise refusal(name, "config.json", f"has the albeam_dtype {str(found)[:80]}")
    return str(found)


def options_for(identity: ModelIdentity, model: str | None = None) -> ModelOptions:
    """Return options that find the same model on any machine, at ``model`` if it has moved."""
    return ModelOptions(
        model=model or identity.name,
        revision=None if model else identity.revision,
        pooling=identity.pooling,
        layer=identity.layer,
        normalize=identity.normalize,
        max_tokens=identity.max_tokens,
        query_prompt=identity.query_prompt,
        passage_prompt=identity.passage_prompt,
        expected=identity,
    )


def find_folder(options: ModelOptions) -> tuple[str, str | None]:
    """Return a model's folder on this machine, and its commit if it comes from the hub.

    Raises:
        BadInput: there is no such folder, and the hub has no such model.
    """
    if is_shipped(options.model):
        return shipped_folder(options.model), None
    path = Path(options.model)
    if path.is_dir():
        if not (path / "config.json").is_file():
            remedy = "Give a folder that transformers or sentence-transformers saved"
            is_head = (path / "head.json").is_file()
            problem = "is a head on vectors, no model" if is_head else "has no config.json"
            raise BadInput("model", options.model, problem, remedy)
        return str(path.resolve()), None
    if path.exists() or options.model.startswith((".", "/", "~")) or options.model.count("/") > 1:
        remedy = "Give an existing folder or a hub name"
        raise BadInput("model", options.model, "is not a folder", remedy)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        folder = snapshot_download(options.model, revision=options.revision, allow_patterns=_FILES)
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(
            "model",
            options.model,
            f"is not a local folder, and revision {options.revision or 'main'} can't be fetched "
            f"from the hub: {reason}",
            "Check the name and the network",
        ) from error
    # The cache names the folder by the commit, which pins the revision for the workers.
    return folder, Path(folder).name


def load_config(folder: str, name: str) -> Any:
    """Check a model's files, and return its config.

    Raises:
        BadInput: it is not the config of an encoder, the weights are not safetensors or do not fit
            it, or a file leads out of the folder.
    """
    with refusing(name, _UNUSABLE):
        return _checked_config(folder, name)


def _checked_config(folder: str, name: str) -> Any:
    check_files(folder, name)
    check_values(read_object(folder, "config.json", name), name)
    config = read_config(folder, name)
    refused = None
    if getattr(config, "is_encoder_decoder", False):
        refused = "is an encoder-decoder"
    elif getattr(config, "is_decoder", False) or any(
        "CausalLM" in str(a) or "LMHead" in str(a) for a in config.architectures or []
    ):
        refused = "is a decoder"
    elif not hasattr(config, "hidden_size") or not hasattr(config, "num_hidden_layers"):
        refused = "has no hidden_size and num_hidden_layers in its config"
    if refused:
        problem = f"{refused} (type {config.model_type!r})"
        raise BadInput("model", name, problem, "Give an encoder such as ALBERT or BERT")
    check_sizes(config, read_weights(folder, name), name)
    return config


def read_config(folder: str, name: str) -> Any:
    """Return the config of a folder that `load_config` checks.

    Raises:
        BadInput: transformers can't read it.
    """
    check_installed("transformers", "model", name)
    problem = "has a config that transformers can't read"
    with refusing(name, problem, "Restore its config.json"), loading():
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def usable_positions(config: Any) -> int:
    """Return the number of tokens for which a model has positions."""
    positions = int(getattr(config, "max_position_embeddings", None) or -1)
    if positions < 1:
        return _UNBOUNDED
    if config.model_type in _OFFSET_POSITIONS:
        positions -= int(config.pad_token_id) + 1
    return positions
