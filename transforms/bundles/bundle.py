"""Write a bundle: a store's snapshot and its model as files that are searched without albeam."""

import json
import os
import shutil
from collections.abc import Callable
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from transforms.bundles.archive import write_archive
from transforms.bundles.ask_script import ask_script, main_script
from transforms.bundles.edge.files import BUNDLE_VERSION, DESCRIPTION
from transforms.bundles.encoder_files import write_encoder
from transforms.bundles.options import BundleOptions
from transforms.bundles.packages import PACKAGES, fetch
from transforms.bundles.page import write_page
from transforms.bundles.store_files import JsonText, lexical_language, write_rows
from transforms.bundles.summary import BundleSummary
from transforms.index.lexical.character_tables import character_tables
from transforms.models.exported import FILE
from transforms.search.store import Store

_REQUIREMENTS = ("numpy>=1.26", "onnxruntime>=1.23", "pyarrow>=20", "tokenizers>=0.22")
#: What the sizes of a bundle's files are added up under; "program" is the rest.
_PARTS = {
    "encoder": (FILE, "tokenizer.json"),
    "vectors": ("vectors.bin", "scales.bin", "documents.bin"),
    "words": (
        *("terms.txt", "held.bin", "starts.bin", "rows.bin", "counts.bin", "lengths.bin"),
        "characters.json",
    ),
    "passages": (
        *("passages.parquet", "passages", "metadata.parquet"),
        *("filter_starts.bin", "filter_rows.bin"),
    ),
}
_ALBEAM = ("albeam", "albeam", "LICENSE")
#: Libraries whose code a folder holds, and a page: the name here, and the file of its licence.
_LICENCES = {
    False: (_ALBEAM, ("snowballstemmer", "snowball", "COPYING")),
    True: (
        _ALBEAM,
        ("onnxruntime", "onnxruntime", "LICENSE"),
        ("onnxruntime", "onnxruntime-third-parties", "ThirdPartyNotices.txt"),
    ),
}
_README = """\
# {documents:,} documents of an albeam store

Ask them: `python {program} "a question"`. It needs Python 3.11 and the packages of
`requirements.txt`, and neither a network nor albeam. `--help` lists the options, and `--json`
prints what `albeam search --json` prints. Snapshot {snapshot}; model {model}; vectors {vectors}.
"""


def write_bundle(
    options: BundleOptions, json_text: JsonText, style: str, tell: Callable[[str], None]
) -> BundleSummary:
    """Write a bundle, which appears whole or not at all.

    Args:
        options: what of, and where to.
        json_text: makes JSON of metadata.
        style: the style sheet of a page.
        tell: receives lines of progress.

    Raises:
        BadInput: there is no store, it is too large, its model has no ONNX form, or a library or a
            package is missing.
    """
    store = Store.open(options.store, options.snapshot, options.model, "cpu", "float32")
    snapshot = store.snapshot
    options.check_size(snapshot.passages)
    language = lexical_language(store)
    program = None if options.web else ask_script(language)
    for package in PACKAGES if options.web else ():
        fetch(package)
    output = options.output.absolute()
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        tell(f"exporting {snapshot.identity.name}")
        model, difference = write_encoder(store, options.model, partial)
        tell(f"writing {snapshot.passages:,} passages")
        kind = options.vector_kind
        rows = write_rows(store, partial, kind, options.web, language, json_text)
        modes = ("hybrid", "dense", "lexical") if language else ("dense",)
        about = {
            "version": BUNDLE_VERSION,
            "id": f"{snapshot.commit[:16]}-{kind}",
            "snapshot": snapshot.number,
            "documents": snapshot.documents,
            "passages": snapshot.passages,
            "weight": store.weight(),
            "units": _units(store) if language else None,
            "modes": modes,
            "vectors": kind,
            "model": model,
        }
        _write_json(partial / DESCRIPTION, about | rows)
        if language:
            _write_json(partial / "characters.json", character_tables())
        _write_licences(partial, options.web)
        if program is None:
            write_page(partial, style)
        else:
            (partial / "ask.py").write_text(program, encoding="utf-8")
            (partial / "requirements.txt").write_text("\n".join(_REQUIREMENTS) + "\n")
            if options.zipped:
                (partial / "__main__.py").write_text(main_script(_REQUIREMENTS), encoding="utf-8")
            name = output.name if options.zipped else "ask.py"
            told = about | {"model": snapshot.identity.name, "program": name}
            (partial / "README.md").write_text(_README.format(**told), encoding="utf-8")
        parts = _put(partial, output, options.zipped)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return BundleSummary(
        output=str(output),
        kind="web" if options.web else "edge",
        store=store.url,
        snapshot=snapshot.number,
        documents=snapshot.documents,
        passages=snapshot.passages,
        modes=modes,
        vectors=kind,
        bytes=sum(parts.values()),
        parts=parts,
        encoder_difference=difference,
    )


def _units(store: Store) -> dict[str, float]:
    """Return what counts as 1 in each half of a hybrid score of a store."""
    units = store.ranker.units()
    return {
        "mean": units.spread.mean,
        "deviation": units.spread.deviation,
        "words": units.words,
    }


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


def _write_licences(folder: Path, web: bool) -> None:
    target = folder / "LICENSES"
    target.mkdir()
    for library, name, file in _LICENCES[web]:
        for each in distribution(library).files or ():
            if each.name == file:
                shutil.copyfile(str(each.locate()), target / name)
    text = files("transforms.bundles").joinpath("licences.md").read_text(encoding="utf-8")
    (target / "README.md").write_text(text, encoding="utf-8")


def _put(folder: Path, output: Path, zipped: bool) -> dict[str, int]:
    """Make the output of a folder, and return the sizes of its parts."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    if zipped:
        partial = folder.with_name(f"{folder.name}.zip")
        try:
            sizes = write_archive(folder, partial)
            # Its headers count as part of the program.
            sizes["headers"] = partial.stat().st_size - sum(sizes.values())
            os.replace(partial, output)
        finally:
            partial.unlink(missing_ok=True)
    else:
        if output.exists():
            output.rmdir()
        os.replace(folder, output)
    parts = dict.fromkeys([*_PARTS, "program"], 0)
    for name, size in sizes.items():
        top = name.split("/")[0]
        parts[next((part for part, tops in _PARTS.items() if top in tops), "program")] += size
    return parts
