"""Index files and factory strings of stores with random changes, by accident and on purpose.

Run as ``python -m tests.faults.fuzz_indexes [--seed N] [--count N] [--only N]``. An accident leaves
the digests as they are. On purpose, the digests are made anew, up to that of the snapshot, and
numbers, types, links and lists are changed where FAISS's formats have them.
"""

import atexit
import os
import random
import shutil
import struct
import tempfile
from functools import cache, partial
from pathlib import Path
from typing import Any

import faiss

from pipeline.maintenance import verify
from tests.faults.fuzz_harness import (
    CHANGED,
    SAME,
    Fuzzer,
    Wrong,
    command,
    copy_tree,
    in_child,
    mutate_bytes,
)
from tests.support.damage import rewrite_manifest, vouch_for_index
from tests.support.stores import DIM, add_segment, found
from transforms.catalog.layout import SegmentPaths
from transforms.errors import Damaged
from transforms.index.build import build_index
from transforms.index.options import IndexOptions
from transforms.index.vector.plan import IndexContext, reusable_indexes
from transforms.search.store import Store

#: A store of each kind of index.
FACTORIES = (
    *("Flat", "SQ8", "PQ4x4", "PQ4x4fs", "RQ2x4", "LSQ2x4", "PRQ2x2x4", "RQ4x4fs", "RaBitQ4"),
    *("RaBitQfs", "EDEN2", "HNSW4", "HNSW4_SQ8", "IVF4,Flat", "IVF4,SQ8", "IVF4,PQ4x4"),
    *("RR8,IVF4,PQ4x4fsr", "IVF4,RQ2x4", "IVF4,RaBitQ", "IVF4,RaBitQfs4", "IVF4,EDEN2"),
    *("IVF4,FlatPanorama4", "IVF4_HNSW4,SQ8", "IVF16(PQ4x4),Flat", "PCA4,IVF4,Flat", "SQ8,RFlat"),
    *("OPQ4,IVF4,PQ4x4", "ITQ,Flat", "Pad16,L2norm,SQ8"),
)
_ROWS = 150
#: Numbers that limits and products are exceeded by.
_VALUES = (0, 1, 2, 3, _ROWS - 1, _ROWS + 1, -1, -2, 255, 65_536, 2**31 - 1, 2**31, 2**32, 2**40)
_WIDE = (*_VALUES, 2**61, 2**62, 2**63 - 1)
_TYPES = (
    b"IxFI IxSQ IxPq IPfs IHNf IHNs IwFl IwSq IwPQ IwPf ilar ilbl ilod full sprs null IxPT IxMp"
)
_STRINGS = (
    *("HNSW1", "HNSW0", "IVF1_HNSW1,Flat", "Flat" * 25_000, "IVF999999999,Flat", "NSG0", "NSG16"),
    *("IVF4194304,Flat", "IVF4M,SQ8", "PQ8x24", "RQ8x16", "LSQ99x9", "PRQ1x1x16", "Pad9999,Flat"),
    *("IDMap,Flat", "SQ8,RFlat", "IVF4,FlatDedup", "LSH", "IVF4(IVF4(IVF4,Flat),Flat),Flat"),
    *("IVF4(HNSW1),Flat", "(" * 60, "Flat,", "", "\x00", "é", "PCA1,Flat", "PCA16384,Flat"),
)


@cache
def bases(factories: tuple[str, ...]) -> tuple[Path, dict[str, Any]]:
    """Make a sound store of each kind; return their folder, and what each answers."""
    folder = Path(tempfile.mkdtemp(prefix="albeam-fuzz-bases-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, in_child(
        lambda: {str(n): _base(folder / str(n), f) for n, f in enumerate(factories)}
    )


def _prepare(folder: Path) -> None:
    """Prepare a child: records of checked files are kept in a folder of this fuzz."""
    os.environ["HOME"] = str(folder)
    faiss.omp_set_num_threads(1)


def _base(store: Path, factory: str) -> Any:
    _prepare(store.parent)
    documents = {f"a{n:03d}": 1 for n in range(_ROWS)}
    add_segment(str(store), "one", documents, index=factory, recall_target=0.1)
    return found(str(store), 5, 4)


def change(factories: tuple[str, ...], chosen: random.Random, work: Path, outside: Path) -> str:
    """Copy a store, and change its index by accident or on purpose."""
    number = chosen.randrange(len(factories))
    store, base = work / str(number), factories[number]
    copy_tree(bases(factories)[0] / str(number), store)
    if chosen.random() < 0.1:
        factory = chosen.choice((*_STRINGS, *FACTORIES))
        rewrite_manifest(store, lambda value: value["index"].update(factory=factory))
        return f"purpose: {base} in the manifest became {factory[:60]!r}"
    files = [path for path in sorted(store.glob("segments/*/index/*")) if path.suffix != ".json"]
    path = chosen.choice(files)
    content = path.read_bytes()
    accident = chosen.random() < 0.4
    if accident and chosen.random() < 0.1:
        path.unlink()
        return f"accident: {base}: {path.name} removed"
    if accident and chosen.random() < 0.1:
        other = chosen.choice(files).read_bytes()
        path.write_bytes(other)
        kind = "sound" if other == content else "accident"
        return f"{kind}: {base}: {path.name} is another file"
    made, what = mutate_bytes(chosen, content)
    if not accident and chosen.random() < 0.7:
        made, what = _forged(chosen, content, outside)
    path.write_bytes(made)
    kind = "sound" if made == content else "accident" if accident else "purpose"
    if not accident:
        vouch_for_index(store, path)
    return f"{kind}: {base}: {path.name}: {what}"


def _forged(chosen: random.Random, content: bytes, outside: Path) -> tuple[bytes, str]:
    """Change numbers, types and lists as their formats have them."""
    found = bytearray(content)
    for _ in range(chosen.choice((1, 1, 1, 2, 5))):
        place = chosen.randrange(max(1, len(content) - 8))
        if chosen.random() < 0.6:
            place = min(place, chosen.randrange(300))
        kind = chosen.choice(("number", "wide", "type", "links", "float", "lists"))
        if kind == "type":
            names = [at for at in range(len(content) - 4) if content[at : at + 2] in _KNOWN]
            place = chosen.choice(names) if names and chosen.random() < 0.8 else place
            found[place : place + 4] = chosen.choice(_TYPES.split())
        elif kind == "number":
            found[place : place + 4] = struct.pack("<q", chosen.choice(_VALUES))[:4]
        elif kind == "wide":
            found[place : place + 8] = struct.pack("<q", chosen.choice(_WIDE))
        elif kind == "float":
            value = chosen.choice((float("nan"), float("inf"), -1e38, 1e-45))
            found[place : place + 4] = struct.pack("<f", value)
        elif kind == "links":
            count = chosen.choice((1, 8, 64))
            value = chosen.choice((0, _ROWS - 1, _ROWS, -1, chosen.randrange(_ROWS)))
            found[place : place + 4 * count] = struct.pack("<i", value) * count
        else:
            at = content.find(b"ilar") if b"ilar" in content else content.find(b"ilbl")
            if at >= 0:
                found[at:] = _on_disk(str(outside / "precious"), content[at + 4 : at + 20])
    return bytes(found[: len(content) + 4_096]), f"forged {kind} at {place} of {len(content)}"


_KNOWN = {name[:2] for name in _TYPES.split()}


def _on_disk(path: str, sizes: bytes) -> bytes:
    """Return lists that lie in another file, as FAISS writes them, given their number and width."""
    name = path.encode()
    [lists] = struct.unpack_from("<Q", sizes)
    places = struct.pack("<Q", lists) + struct.pack("<QQQ", 3, 32, 0) * min(lists, 99)
    end = struct.pack("<Q", len(name)) + name + struct.pack("<Q", 15_000)
    return b"ilod" + sizes + places + struct.pack("<Q", 0) + end


def use(factories: tuple[str, ...], work: Path, what: str) -> str:
    """Search and verify a store, and build the index of new rows with its trained index."""
    _prepare(work.parent)
    [store] = work.iterdir()
    expected = bases(factories)[1][store.name]
    errors: list[Damaged] = []
    answer = None
    try:
        answer = found(str(store), 5, 4)
    except Damaged as error:
        errors.append(error)
    try:
        verify.run(str(store))
    except Damaged as error:
        errors.append(error)
    else:
        if errors:
            raise Wrong(f"verify found nothing, but a search did: {errors[0]}")
    if not errors or "trained-" in what:
        _embed_more(store)
    if errors:
        raise errors[0]
    if answer == expected:
        return SAME
    if what.startswith("purpose"):
        return CHANGED
    raise Wrong("other hits, and no error")


def _embed_more(store: Path) -> None:
    [info] = Store.open(str(store)).segments
    if info.index is None:
        return
    context = IndexContext(reusable_indexes([info]))
    options = IndexOptions(info.index.factory, 0.1)
    build_index(SegmentPaths(str(store), info.name), info.parts, DIM, options, context)


def fuzzer(factories: tuple[str, ...] = FACTORIES) -> Fuzzer:
    """Return the fuzzer of the indexes of these factory strings."""
    bases(factories)
    return Fuzzer("indexes", partial(change, factories), partial(use, factories))


if __name__ == "__main__":
    command([fuzzer], __doc__)
