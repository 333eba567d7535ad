"""Conversion of vectors: what it gives, and that it needs no pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from tests.test_wheel import ROOT
from transforms.storage.vectors import vectors_to_arrow, vectors_to_numpy

WITHOUT = """
import sys

class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoPandas())
import numpy as np
import pyarrow as pa
from transforms.storage.vectors import vectors_to_arrow, vectors_to_numpy
vectors = np.arange(6, dtype=np.float32).reshape(2, 3)
for kind in (pa.float16(), pa.float32()):
    print(vectors_to_numpy(vectors_to_arrow(vectors, kind)).tolist())
"""


def test_vectors_need_no_pandas() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.split("\n")[:2] == [str([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])] * 2, done.stderr


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32()])
def test_a_vector_that_the_type_cannot_hold_is_null(kind: pa.DataType) -> None:
    vectors = np.array([[1.0, 2.0], [np.inf, 0.0], [1e39, 1.0], [np.nan, 1.0]])
    column = vectors_to_arrow(vectors, kind)
    assert column.type == pa.list_(kind, 2)
    assert column.is_null().to_pylist() == [False, True, True, True]
    assert vectors_to_numpy(column[:1]).tolist() == [[1.0, 2.0]]
