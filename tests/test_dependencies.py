"""The declared dependencies: each library that the packages import is required by the wheel."""

import ast
import re
import sys
from importlib.metadata import requires

from tests.test_structure import ROOT, imports, sources

#: Modules whose distribution has another name.
_DISTRIBUTIONS = {
    "google": "protobuf",
    "grpc": "grpcio",
    "markupsafe": "MarkupSafe",
    "opentelemetry": "opentelemetry-sdk",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
}
#: Libraries that come with a required one, which also returns or takes their objects.
_COMES_WITH = {
    "google": "apache-beam",
    "grpc": "apache-beam",
    "huggingface_hub": "tokenizers",
    "markupsafe": "jinja2",
}
#: Libraries of an extra; without it an error says what to install, or a row of the bench does.
_EXTRAS = {
    "apache_beam": "cpu",
    "faiss": "search",
    "sentencepiece": "cpu",
    "torch": "cpu",
    "transformers": "cpu",
    "fastapi": "serve",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "opentelemetry": "otel",
    "orjson": "serve",
    "openvino": "openvino",
    "mcp": "serve",
    "nervaluate": "tasks",
    "prometheus_client": "serve",
    "pydantic": "serve",
    "sentence_transformers": "bench",
    "sklearn": "tasks",
    "threadpoolctl": "tasks",
    "uvicorn": "serve",
}


def declared() -> tuple[list[str], dict[str, list[str]]]:
    """Return the requirements and the extras that setup.py declares."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    [call] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup"
    ]
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    extras = given["extras_require"]
    assert isinstance(extras, ast.Dict)
    return _texts(given["install_requires"]), {
        ast.literal_eval(key): _texts(value)
        for key, value in zip(extras.keys, extras.values, strict=True)
        if key is not None
    }


def _texts(node: ast.expr) -> list[str]:
    return [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]  # type: ignore[misc]


def project(requirement: str) -> str:
    """Return the normalized name of a requirement such as ``apache-beam[gcp]>=2``."""
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_imported_library_is_declared() -> None:
    required, extras = declared()
    own = {project(text) for text in required}
    full = own | {project(text) for text in extras["cpu"]}
    assert {"torch", "apache-beam"} <= full - own
    missing = []
    for name, path in sources().items():
        for module, _, _ in imports(path):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in ("transforms", "pipeline"):
                continue
            distribution = project(_DISTRIBUTIONS.get(top, top))
            if top in _EXTRAS:
                some = {project(text).removesuffix("-cpu") for text in extras[_EXTRAS[top]]}
            elif top in _COMES_WITH:
                assert _COMES_WITH[top] in full
                some = {project(text) for text in requires(_COMES_WITH[top]) or ()}
            else:
                some = own
            if distribution not in some:
                missing.append(f"{name} imports {top}")
    assert not missing


def test_cpu_and_gpu_are_everything_and_differ_in_faiss() -> None:
    _, extras = declared()
    [cpu], [gpu] = (
        [text for text in extras[name] if text.startswith("faiss")] for name in ("cpu", "gpu")
    )
    assert [cpu] == extras["search"]
    assert gpu == cpu.replace("faiss-cpu", "faiss-gpu")
    assert set(extras["cpu"]) - {cpu} == set(extras["gpu"]) - {gpu}


def test_the_tables_name_nothing_that_is_not_imported() -> None:
    found = {module.split(".")[0] for path in sources().values() for module, _, _ in imports(path)}
    assert {*_DISTRIBUTIONS, *_COMES_WITH, *_EXTRAS} <= found
