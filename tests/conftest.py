"""Fixtures that many tests share."""

import os

# There is one test worker per core; more threads than cores would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# gcsfs reads this at import. Without it, gcsfs uses gRPC to ask for the kind of a bucket, but the
# emulator only knows HTTP.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

from pathlib import Path

import hypothesis
import pytest

from tests.support.beam_speed import memoize_beam
from tests.support.models import make_model, make_texts, write_corpus
from tests.support.options import embed_options
from transforms.models.options import DEFAULT_MODEL

_SHARED = Path(__file__).resolve().parents[2] / "shared"


# `make test-slow` runs with Beam as it is.
if not os.environ.get("ALBEAM_PLAIN_BEAM"):
    memoize_beam()
hypothesis.settings.register_profile("ci", derandomize=True)
if "CI" in os.environ:
    hypothesis.settings.load_profile("ci")


@pytest.fixture(scope="session", autouse=True)
def _quiet_libraries(tmp_path_factory: pytest.TempPathFactory) -> None:
    # The file cache is in the home folder.
    os.environ["HOME"] = str(tmp_path_factory.mktemp("home"))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def albert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny ALBERT."""
    return make_model(tmp_path_factory.mktemp("models") / "albert")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """Folder of the tiny ALBERT as albeam export writes it; a test must not change it."""
    from tests.support.exports import export_model

    return export_model(albert, tmp_path_factory.mktemp("exported") / "albert")


@pytest.fixture(scope="session")
def exported_int8(tmp_path_factory: pytest.TempPathFactory, albert: Path) -> Path:
    """Folder of the tiny ALBERT as albeam export --int8 writes it; a test must not change it."""
    from tests.support.exports import export_model

    return export_model(albert, tmp_path_factory.mktemp("exported") / "int8", int8=True)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Two hundred documents, some longer than a passage."""
    return make_texts(200)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """Folder with the documents as one Parquet file."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), list(texts))


@pytest.fixture(scope="session")
def embedded_store(tmp_path_factory: pytest.TempPathFactory, corpus: Path, albert: Path) -> Path:
    """Store of the corpus with all its columns; a test must not change it."""
    from pipeline.ingest.embed import run

    store = tmp_path_factory.mktemp("embedded") / "store"
    run(embed_options(store, albert, corpus))
    return store


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real corpora; tests that need it are skipped without it."""
    folder = Path(os.environ.get("ALBEAM_DATA", _SHARED / "data"))
    if not (folder / "squad_dev" / "passages.parquet").is_file():
        pytest.skip(f"no real data in {folder}; set ALBEAM_DATA to a folder that has squad_dev")
    return folder


@pytest.fixture(scope="session")
def trained_model() -> str:
    """Name of a trained model: $ALBEAM_MODEL, or the model that comes with albeam."""
    return os.environ.get("ALBEAM_MODEL") or DEFAULT_MODEL
