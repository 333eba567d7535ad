"""A model that is loaded in several threads, or used after a fork."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from transforms.encoder.encoder import Encoder, load_encoder
from transforms.errors import BadInput
from transforms.models.options import ModelOptions, Placement
from transforms.models.resolve import find_model

_TEXTS = ["river stone", "a window in winter", "music " * 90]


def load(albert: Path) -> Encoder:
    return load_encoder(find_model(ModelOptions(str(albert))), Placement("cpu", "float32"))


def test_threads_may_load_models_at_once(albert: Path) -> None:
    together = threading.Barrier(4)

    def work(_: int) -> np.ndarray:
        together.wait()
        return load(albert).encode_texts(_TEXTS)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    for vectors in found:
        np.testing.assert_allclose(vectors, found[0], atol=1e-6)


def test_a_model_on_a_gpu_says_that_a_forked_process_can_not_use_it(albert: Path) -> None:
    encoder = load(albert)
    expected = encoder.encode_texts(_TEXTS)
    encoder.device = "cuda"
    child = os.fork()
    if not child:
        code = 1
        try:
            encoder.encode_texts(_TEXTS)
        except BadInput as error:
            code = 0 if "spawn" in error.remedy else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_allclose(encoder.encode_texts(_TEXTS), expected, atol=1e-6)
