"""The encoder of questions: a tokenizer and an ONNX file, without torch and transformers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.bundles.edge.files import Files


class OnnxEncoder:
    """A loaded model that embeds questions on the CPU."""

    def __init__(self, files: Files, model: dict[str, Any]) -> None:
        """Load the files; ``model`` is what the bundle says of them."""
        import onnxruntime
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_buffer(files.read("tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(
            files.whole("model.onnx"), options, providers=providers
        )
        self._model = model

    def tokens(self, question: str) -> list[int]:
        """Return the ids of a question after the prompt, cut to what the model reads."""
        text, model = self._model["prompt"] + question, self._model
        room = model["max_tokens"] - len(model["prefix"]) - len(model["suffix"])
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids[:room]
        return [*model["prefix"], *ids, *model["suffix"]]

    def encode(self, question: str) -> npt.NDArray[np.float32]:
        """Return the vector of a question, float32 ``[dim]``."""
        ids = np.array([self.tokens(question)], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        [vectors] = self._session.run(None, given)
        return np.asarray(vectors[0], np.float32)
