"""Which files an input means, on a local disk and in memory."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.raising import raises
from transforms.errors import BadInput
from transforms.storage import filesystem
from transforms.storage.input_files import (
    check_unchanged,
    find_inputs,
    list_inputs,
    poll_inputs,
)
from transforms.storage.listing import Listing

TREE = (
    *("a.parquet", "b.parquet", "note.txt", "_SUCCESS", ".a.parquet.crc", "x/y/c.parquet"),
    *("_temporary/0/t.parquet", ".ipynb_checkpoints/h.parquet", "x/_old/o.parquet"),
    *("_year=2024/d.parquet", "x/.k=1/e.parquet", "copied.parquet._COPYING_"),
)


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    root = str(tmp_path / "in") if request.param == "local" else f"memory://{uuid.uuid4().hex}/in"
    for name in TREE:
        filesystem.create_exclusively(filesystem.join(root, name), name.encode())
    yield root
    if request.param == "memory":
        fsspec.filesystem("memory").rm(root, recursive=True)


def named(listing: Listing, folder: str) -> list[str]:
    tail = folder.rpartition("://")[2]
    return [file.url.partition(tail)[2].lstrip("/") for file in listing.files]


def find(folder: str, *patterns: str, store: str = "") -> Listing:
    given = tuple(filesystem.join(folder, each) for each in patterns)
    return find_inputs(given, filesystem.join(folder, store) if store else "")


def test_a_folder_hides_what_spark_hides_and_keeps_partitions(folder: str) -> None:
    found = find(folder, "")
    wanted = ["_year=2024/d.parquet", "a.parquet", "b.parquet", "x/y/c.parquet"]
    assert named(found, folder) == wanted
    # A folder counts once: _temporary, .ipynb_checkpoints, x/_old, x/.k=1; and three files.
    assert found.left_out == {"another suffix": 1, "hidden name": 7}


@pytest.mark.parametrize(
    ("pattern", "wanted", "left_out"),
    [
        ("*.parquet", ["a.parquet", "b.parquet"], {}),
        ("*", ["_year=2024/d.parquet", "a.parquet", "b.parquet", "note.txt", "x/y/c.parquet"],
         {"hidden name": 7}),
        ("**/*.parquet", ["_year=2024/d.parquet", "a.parquet", "b.parquet", "x/y/c.parquet"],
         {"hidden name": 4}),
        ("**", ["_year=2024/d.parquet", "a.parquet", "b.parquet", "note.txt", "x/y/c.parquet"],
         {"hidden name": 7}),
        ("**/**/c.parquet", ["x/y/c.parquet"], {"hidden name": 4}),
        ("_*/**/*.parquet", ["_temporary/0/t.parquet", "_year=2024/d.parquet"], {}),
        ("_temporary/*", ["_temporary/0/t.parquet"], {}),
        ("*/_old/*.parquet", ["x/_old/o.parquet"], {"hidden name": 2}),
        (".*/h.parquet", [".ipynb_checkpoints/h.parquet"], {}),
        ("?.parquet", ["a.parquet", "b.parquet"], {}),
        ("[!a].parquet", ["b.parquet"], {}),
        ("x/*", ["x/y/c.parquet"], {"hidden name": 2}),
        ("*.parquet*", ["a.parquet", "b.parquet"], {"hidden name": 2}),
    ],
)  # fmt: skip
def test_a_glob_hides_what_a_folder_hides_unless_it_spells_the_mark(
    folder: str, pattern: str, wanted: list[str], left_out: dict[str, int]
) -> None:
    found = find(folder, pattern)
    assert named(found, folder) == wanted
    assert {key: n for key, n in found.left_out.items() if key == "hidden name"} == left_out


def test_what_the_user_names_is_taken_whatever_it_is_called(folder: str) -> None:
    names = ("_SUCCESS", ".a.parquet.crc", "_temporary", "x/.k=1/e.parquet")
    assert named(find(folder, *names), folder) == [
        ".a.parquet.crc", "_SUCCESS", "_temporary/0/t.parquet", "x/.k=1/e.parquet",
    ]  # fmt: skip


def test_the_error_of_an_empty_input_says_what_was_left_out(folder: str) -> None:
    with pytest.raises(BadInput) as caught:
        find(folder, "x/_o*/*.orc")
    assert (caught.value.option, caught.value.problem) == ("input", "matches no file")
    with pytest.raises(BadInput) as caught:
        find(folder, "*_SUCCESS", "a.parquet")
    assert caught.value.value == filesystem.absolute(filesystem.join(folder, "*_SUCCESS"))
    assert "left out: 1 hidden name" in caught.value.problem


#: What makes a folder a store, and the first of it that a run writes.
STORE = ("store/segments/s/vectors/p.parquet", "store/snapshots/00000001.json")


@pytest.mark.parametrize("made", [STORE, (STORE[0],)])
def test_the_store_is_no_part_of_its_own_input(folder: str, made: tuple[str, ...]) -> None:
    for name in made:
        filesystem.create_exclusively(filesystem.join(folder, name), b"")
    for pattern in ("", "**/*.parquet", "*"):
        found = find(folder, pattern, store="store")
        assert "p.parquet" not in " ".join(named(found, folder))
        assert found.left_out["in a store"] == 1
    # What the user spells is meant.
    vectors = find(folder, "store/segments/s/vectors", store="store")
    assert named(vectors, folder) == [STORE[0]]


def test_the_store_may_be_the_folder_of_the_input(folder: str) -> None:
    for name in ("segments/s/p.parquet", "snapshots/00000001.json", "watch/w/ids.parquet"):
        filesystem.create_exclusively(filesystem.join(folder, name), b"")
    found = find_inputs((folder,), folder)
    assert named(found, folder) == [
        "_year=2024/d.parquet", "a.parquet", "b.parquet", "x/y/c.parquet",
    ]  # fmt: skip
    assert found.left_out["in a store"] == 3
    assert "a.parquet" in named(find_inputs((f"{folder}/*",), folder), folder)


def test_other_stores_below_a_folder_are_no_input(folder: str) -> None:
    for name in STORE:
        filesystem.create_exclusively(filesystem.join(folder, name), b"")
    for pattern in ("", "**/*.parquet"):
        found = find(folder, pattern)
        assert found.left_out["in a store"] == 1
        assert "store" not in " ".join(named(found, folder))


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder with links to a file, to a folder, and to what it has already."""
    root = (tmp_path / "in").resolve()
    for name in ("in/a.parquet", "in/real/r.parquet", "blobs/9c0e", "more/c.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    (root / "b.parquet").symlink_to("../blobs/9c0e")
    (root / "linked").symlink_to("../more")
    return root


def test_links_to_files_and_folders_are_followed(linked: Path) -> None:
    assert named(find_inputs((str(linked),)), str(linked)) == [
        "a.parquet", "b.parquet", "linked/c.parquet", "real/r.parquet",
    ]  # fmt: skip
    for pattern, wanted in (
        ("*.parquet", ["a.parquet", "b.parquet"]),
        ("*/*.parquet", ["linked/c.parquet", "real/r.parquet"]),
        ("**/c.parquet", ["linked/c.parquet"]),
        ("l*", ["linked/c.parquet"]),
        ("linked/*", ["c.parquet"]),
    ):
        found = find_inputs((str(linked / pattern),))
        assert [file.url.rpartition("/")[2] for file in found.files] == [
            name.rpartition("/")[2] for name in wanted
        ]


def test_a_link_to_what_is_listed_already_changes_nothing(linked: Path) -> None:
    before = find_inputs((str(linked),)).files
    (linked / "0-first.parquet").symlink_to("a.parquet")
    (linked / "0-latest").symlink_to("real")
    (linked / "up").symlink_to(".")
    (linked / "real" / "round").symlink_to("..")
    (linked / "linked" / "back").symlink_to(linked)
    found = find_inputs((str(linked),))
    assert found.files == before
    assert found.left_out == {"listed already": 5}
    assert len(find_inputs((str(linked / "**/*.parquet"),)).files) == len(before)


def test_links_into_each_other_are_walked_once(tmp_path: Path) -> None:
    folders = [tmp_path / f"{number:02d}" for number in range(12)]
    for folder in folders:
        folder.mkdir()
        (folder / "x.parquet").write_text("x")
        for other in folders:
            (folder / f"to-{other.name}").symlink_to(other)
    assert len(list_inputs((str(tmp_path),))) == 12
    assert len(list_inputs((str(tmp_path / "**/*.parquet"),))) == 12
    assert len(list_inputs((str(folders[0]),))) == 12


def test_an_ordinary_file_is_known_by_path_size_and_time_of_change(linked: Path) -> None:
    # Names of segments come from these fields, so that they stay what they were.
    [file] = list_inputs((str(linked / "a.parquet"),))
    info = fsspec.filesystem("file").info(file.url)
    assert (file.url, file.size) == (str(linked / "a.parquet"), info["size"])
    assert file.version == f"mtime={info['mtime']}"


def test_another_target_of_a_link_is_another_version(linked: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "blobs", tmp_path / "more", tmp_path / "else"):
        folder.mkdir(exist_ok=True)
    (tmp_path / "blobs" / "77aa").write_text("blobs/77aa")
    (tmp_path / "else" / "c.parquet").write_text("else/c.parquet"[: len("more/c.parquet")])
    every = [path for path in tmp_path.rglob("*") if path.is_file()]
    for path in every:
        os.utime(path, (1e9, 1e9))
    before = {file.url: file for file in list_inputs((str(linked),))}
    for file in before.values():
        check_unchanged(file)
    (linked / "b.parquet").unlink()
    (linked / "b.parquet").symlink_to("../blobs/77aa")
    (linked / "linked").unlink()
    (linked / "linked").symlink_to("../else")
    after = {file.url: file for file in list_inputs((str(linked),))}
    changed = {url for url in after if after[url] != before[url]}
    assert changed == {str(linked / "b.parquet"), str(linked / "linked/c.parquet")}
    for url in changed:
        with raises(BadInput, "input", problem="changed"):
            check_unchanged(before[url])
    (tmp_path / "blobs" / "77aa").write_text("longer than before")
    assert list_inputs((str(linked / "b*"),))[0] != after[str(linked / "b.parquet")]


def test_a_link_that_leads_nowhere_is_named_and_a_poll_waits_for_it(linked: Path) -> None:
    (linked / "z.parquet").symlink_to("nothing")
    (linked / "loop.parquet").symlink_to("loop.parquet")
    (linked / "note.txt").symlink_to("nothing")
    for pattern in (linked, linked / "*.parquet"):
        with raises(BadInput, "input", problem="leads nowhere") as caught:
            list_inputs((str(pattern),))
        assert caught.value.value == str(linked / "loop.parquet")
        assert poll_inputs((str(pattern),), "").left_out["broken link"] == 2


def test_what_is_no_regular_file_is_left_out(linked: Path) -> None:
    os.mkfifo(linked / "pipe.parquet")
    assert find_inputs((str(linked),)).left_out == {"not a regular file": 1}
    with raises(BadInput, "input", problem="matches no file"):
        list_inputs((str(linked / "pipe.parquet"),))


def test_a_name_that_is_not_utf8_is_refused_and_a_poll_goes_on(linked: Path) -> None:
    Path(os.fsdecode(bytes(linked) + b"/caf\xe9.parquet")).write_text("x")
    Path(os.fsdecode(bytes(linked) + b"/_caf\xe9.parquet")).write_text("x")
    with raises(BadInput, "path", problem="UTF-8"):
        list_inputs((str(linked),))
    assert len(poll_inputs((str(linked),), "").files) == 4
    assert poll_inputs((str(linked),), "").left_out["name is not UTF-8"] == 1


def test_a_folder_that_cannot_be_read_is_named(
    linked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scan(path: str) -> object:
        if path.endswith("/real"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)
    with raises(BadInput, "input", problem="Permission denied") as caught:
        list_inputs((str(linked),))
    assert caught.value.value == str(linked / "real")
    assert poll_inputs((str(linked),), "").left_out == {"unreadable folder": 1}


def test_names_that_exist_are_no_globs(tmp_path: Path) -> None:
    for name in ("run[1]/a.parquet", "run1/b.parquet", "what?.parquet", "star*.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "whats.parquet").write_text("")
    for pattern, wanted in (
        ("run[1]/*.parquet", ["run[1]/a.parquet"]),
        ("run[1]", ["run[1]/a.parquet"]),
        ("r*/*.parquet", ["run1/b.parquet", "run[1]/a.parquet"]),
        ("what?.parquet", ["what?.parquet"]),
        ("star*.parquet", ["star*.parquet"]),
        ("wha*.parquet", ["what?.parquet", "whats.parquet"]),
        ("run[[]1]/*", ["run[1]/a.parquet"]),
    ):
        found = find_inputs((str(tmp_path / pattern),))
        assert named(found, str(tmp_path)) == wanted


_NAMES = st.sampled_from(["a", "b.parquet", "_c", ".d", "_k=1", "e.txt"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_PARTS = st.sampled_from(["*", "**", "a", "_*", ".*", "*.parquet", "?", "[ab]*"])


def by_hand(paths: set[str], pattern: list[str]) -> set[str]:
    """The files that a glob takes, by trying every way to match it."""

    def hidden(name: str) -> bool:
        return name.startswith(".") or (name.startswith("_") and "=" not in name)

    def fits(name: str, part: str) -> bool:
        shapes = {"*": True, "?": len(name) == 1, "*.parquet": name.endswith(".parquet"),
                  "_*": name[0] == "_", ".*": name[0] == ".", "[ab]*": name[0] in "ab"}  # fmt: skip
        seen = not hidden(name) or part[0] == name[0]
        return seen and shapes.get(part, name == part)

    def takes(names: list[str], parts: list[str], deep: bool) -> bool:
        if not parts:
            # The glob has matched a folder: what is below it counts as in a folder.
            plain = not any(map(hidden, names))
            return not names or (not deep and plain and names[-1].endswith(".parquet"))
        if parts[0] == "**":
            rest = parts[1:] or ["*"]
            return takes(names, rest, True) or (
                len(names) > 1 and not hidden(names[0]) and takes(names[1:], parts, True)
            )
        return bool(names) and fits(names[0], parts[0]) and takes(names[1:], parts[1:], deep)

    return {path for path in paths if takes(path.split("/"), pattern, False)}


@settings(max_examples=300, deadline=None)
@given(st.sets(_PATHS, max_size=12), st.lists(_PARTS, min_size=1, max_size=3))
def test_globs_are_what_trying_every_way_gives(paths: set[str], pattern: list[str]) -> None:
    kept = {p for p in paths if not any(other.startswith(f"{p}/") for other in paths)}
    root = f"memory://{uuid.uuid4().hex}"
    for path in kept:
        filesystem.create_exclusively(f"{root}/{path}", b"x")
    found = list_inputs((f"{root}/{'/'.join(pattern)}",), empty=True)
    urls = {file.url.partition(root[9:])[2].lstrip("/") for file in found}
    whole = "/".join(pattern)
    if whole in kept or any(p.startswith(f"{whole}/") for p in kept):
        # A name that exists is no glob.
        return
    assert urls == by_hand(kept, pattern)
