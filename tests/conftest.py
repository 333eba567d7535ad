"""Fixtures that many tests share."""

import os

# Each core has a test worker of its own; more threads than cores wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# gcsfs reads this when it is imported, by whichever test comes first. Otherwise it asks Google by
# gRPC what kind of bucket it is; the emulator speaks HTTP alone.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

from pathlib import Path

import hypothesis
import pytest

from tests.support.beam_speed import memoize_beam
from tests.support.models import make_model, make_texts, write_corpus
from transforms.models.options import DEFAULT_MODEL

_BESIDE = Path(__file__).resolve().parents[2] / "shared"


memoize_beam()
hypothesis.settings.register_profile("ci", derandomize=True)
if "CI" in os.environ:
    hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _quiet_libraries(tmp_path_factory: pytest.TempPathFactory) -> None:
    # What is remembered of files lies below it.
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def albert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny ALBERT."""
    return make_model(tmp_path_factory.mktemp("models") / "albert")


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Two hundred documents, some longer than a passage."""
    return make_texts(200)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """The documents as one Parquet file in a folder."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), list(texts))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real corpora; tests that want it are skipped where there is none."""
    folder = Path(os.environ.get("ALBEAM_DATA", _BESIDE / "data"))
    if not (folder / "squad_dev" / "passages.parquet").is_file():
        pytest.skip(f"no real data in {folder}; set ALBEAM_DATA to a folder that has squad_dev")
    return folder


@pytest.fixture(scope="session")
def trained_model() -> str:
    """A real, trained model: the one that comes with albeam, or that of ALBEAM_MODEL."""
    return os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL
