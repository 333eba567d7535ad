"""Which files an input means: one rule for folders and globs, that of Spark and Hive.

A folder means all files below it that end in a suffix. A glob means the files that it matches, and
what a matched folder means. Both leave out hidden names, except for those that the user spells, and
follow links. Each file is listed once, and no store is an input by accident.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from transforms.errors import BadInput
from transforms.storage import filesystem, urls
from transforms.storage.filesystem import FileInfo
from transforms.storage.globs import is_glob, is_hidden, matches, spells, split_glob
from transforms.storage.trees import BROKEN, FILE, FOLDER, Entry, LocalTree, RemoteTree, Tree

#: The end of the names of a folder's files.
SUFFIX = ".parquet"
#: Why something below an input is left out.
HIDDEN, OTHER_SUFFIX, IN_STORE = "hidden name", "another suffix", "in a store"
AGAIN, SPECIAL_FILE = "listed already", "not a regular file"
UNREADABLE, NOT_TEXT, LEADS_NOWHERE = "unreadable folder", "name is not UTF-8", "broken link"
#: The folders of a store.
_STORE_FOLDERS = frozenset({"segments", "snapshots", "watch", "messages"})
_SNAPSHOT = re.compile(r"\d{8}\.json")


@dataclass(frozen=True)
class Listing:
    """The files of an input, each once and ordered by URL.

    Attributes:
        files: the files.
        left_out: reason to number of names that were left out; a folder counts once.
    """

    files: tuple[FileInfo, ...]
    left_out: dict[str, int]


@dataclass(frozen=True)
class Rule:
    """How inputs are listed.

    Attributes:
        suffix: the end of the names of a folder's files.
        store: the store that the input is for; "" if there is none.
        strict: whether to raise an error for what can't be listed, instead of leaving it out.
    """

    suffix: str = SUFFIX
    store: str = ""
    strict: bool = True


def list_patterns(patterns: tuple[str, ...], rule: Rule) -> tuple[Listing, list[str]]:
    """Return the files of paths, folders and globs, and the patterns that match none.

    Raises:
        BadInput: a pattern can't be listed.
    """
    local = _Lister(LocalTree(), rule)
    listers = [local]
    empty = []
    for pattern in map(filesystem.absolute, patterns):
        lister, path = local, pattern
        if not filesystem.is_local(pattern):
            tree = RemoteTree(pattern)
            lister, path = _Lister(tree, rule), tree.path
            listers.append(lister)
        if not lister.add(path):
            empty.append(pattern)
    found = {file.url: file for lister in listers for file in lister.files()}
    reasons = Counter(reason for lister in listers for reason in lister.left_out.values())
    files = tuple(found[url] for url in sorted(found))
    return Listing(files, dict(sorted(reasons.items()))), empty


class _Lister:
    """A listing of one filesystem, to which inputs are added.

    Attributes:
        left_out: path to reason.
    """

    def __init__(self, tree: Tree, rule: Rule) -> None:
        self._tree, self._rule = tree, rule
        self._store = tree.path_of(rule.store) if rule.store else None
        self._direct: dict[str, Entry] = {}
        # What links lead to comes last: it may be listed under its own name.
        self._linked: dict[str, Entry] = {}
        self._folders: dict[str, Entry] = {}
        self._walked: set[str] = set()
        self._store_places = [] if self._store is None else [self._store]
        self._spelled: list[str] = []
        self._found = False
        self.left_out: dict[str, str] = {}

    def add(self, path: str) -> bool:
        """Add a path or a glob; return whether it means any file or a link to a folder."""
        self._found = False
        with self._asking(path):
            found = self._tree.look(path)
            if found is not None:
                self._spell(path)
                if found.kind == FOLDER:
                    self._walk(found, top=True)
                else:
                    self._take_file(found)
            elif is_glob(path):
                root, components = split_glob(path, isinstance(self._tree, LocalTree))
                self._spell(root)
                self._match(Entry(root, root, FOLDER), components, top=True)
        return self._found

    def files(self) -> Iterator[FileInfo]:
        """Follow the links to folders, and yield each file once."""
        while self._folders:
            folder = self._folders.pop(min(self._folders))
            self._walk(folder)
        seen = {entry.real for entry in self._direct.values()}
        for path, entry in [*self._direct.items(), *sorted(self._linked.items())]:
            if entry.linked and entry.real in seen:
                self.left_out[path] = AGAIN
            elif entry.file is not None:
                seen.add(entry.real)
                self.left_out.pop(path, None)
                yield entry.file

    def _spell(self, root: str) -> None:
        """Note the folder that the user names: inside the store, it is meant."""
        if root == self._store:
            self._store_places = [f"{root}/{name}" for name in _STORE_FOLDERS]
        elif self._store is not None and root.startswith(f"{self._store}/"):
            self._spelled.append(root)

    def _walk(self, folder: Entry, top: bool = False) -> None:
        """Take the files below a folder that end in the suffix."""
        self._tree.load(folder)
        waiting = [(folder, top)]
        while waiting:
            here, top = waiting.pop()
            if here.real in self._walked:
                if here.linked:
                    self.left_out[here.path] = AGAIN
                self._found = True
                continue
            self._walked.add(here.real)
            for child in self._enter(here, top):
                if is_hidden(child.name):
                    self.left_out[child.path] = HIDDEN
                elif child.kind == FOLDER:
                    waiting += [(child, False)] if self._keep_folder(child) else []
                elif not child.name.endswith(self._rule.suffix):
                    self.left_out[child.path] = OTHER_SUFFIX
                else:
                    self._take_file(child)

    def _match(
        self, folder: Entry, components: list[str], top: bool = False, whole: bool = True
    ) -> None:
        """Take what a glob matches below a folder.

        Args:
            folder: the folder.
            components: the glob's components that are not matched yet.
            top: whether the user names the folder.
            whole: whether a matched folder means what is below it; after ``**`` it does not,
                because that is matched by itself.
        """
        if components[0] != "**":
            self._match_children(self._enter(folder, top), components, whole)
            return
        self._tree.load(folder)
        for children in self._folders_below(folder, top):
            self._match_children(children, components[1:] or ["*"], False)

    def _match_children(self, children: list[Entry], components: list[str], whole: bool) -> None:
        """Take what a glob matches of the entries of a folder; see `_match`."""
        head, rest = components[0], components[1:]
        for child in children:
            if not matches(child.name, head) or (rest and child.kind != FOLDER):
                continue
            if is_hidden(child.name) and not spells(head, child.name):
                self.left_out[child.path] = HIDDEN
            elif child.kind != FOLDER:
                self._take_file(child)
            elif rest:
                self._match(child, rest, whole=whole)
            elif whole and self._keep_folder(child):
                self._walk(child)

    def _folders_below(self, folder: Entry, top: bool) -> Iterator[list[Entry]]:
        """Yield the entries of a folder and of each folder below it that is not hidden."""
        waiting, links = [folder], dict[str, Entry]()
        seen: set[str] = set()
        while waiting or links:
            here = waiting.pop() if waiting else links.pop(min(links))
            if here.real in seen:
                self.left_out[here.path] = AGAIN
                continue
            seen.add(here.real)
            children = self._enter(here, top and here is folder)
            yield children
            for child in children:
                if child.kind != FOLDER:
                    continue
                if is_hidden(child.name):
                    self.left_out[child.path] = HIDDEN
                elif child.linked:
                    links[child.path] = child
                else:
                    waiting.append(child)

    def _enter(self, folder: Entry, top: bool) -> list[Entry]:
        """Return the entries of a folder, without those of a store."""
        children: list[Entry] = []
        with self._asking(folder.path):
            children = self._tree.children(folder)
            if not top and self._is_store(children):
                self.left_out[folder.path] = IN_STORE
                return []
        mine = [child for child in children if self._in_store(child)]
        self.left_out |= dict.fromkeys((child.path for child in mine), IN_STORE)
        return [child for child in children if child not in mine] if mine else children

    def _is_store(self, children: list[Entry]) -> bool:
        """Return whether these are the entries of some store's folder."""
        folders = {child.name: child for child in children if child.kind == FOLDER}
        if not {"segments", "snapshots"} <= folders.keys():
            return False
        names = self._tree.children(folders["snapshots"])
        return any(_SNAPSHOT.fullmatch(entry.name) for entry in names)

    def _in_store(self, entry: Entry) -> bool:
        """Return whether an entry belongs to the store that the input is for."""
        return _is_below(entry.real, self._store_places) and not _is_below(
            entry.real, self._spelled
        )

    def _keep_folder(self, folder: Entry) -> bool:
        """Return whether a folder is to be walked now: one that a link leads to has to wait."""
        good = self._is_text(folder)
        if good and folder.linked:
            self._folders[folder.path] = folder
            self._found = True
        return good and not folder.linked

    def _take_file(self, entry: Entry) -> None:
        if entry.file is not None and self._is_text(entry):
            urls.check_link(entry.file.url, entry.path)
            (self._linked if entry.linked else self._direct)[entry.path] = entry
            self._found = True
        elif entry.kind == BROKEN:
            if self._rule.strict:
                problem, remedy = "is a link that leads nowhere", "Restore its target, or remove it"
                raise BadInput("input", entry.path, problem, remedy)
            self.left_out[entry.path] = LEADS_NOWHERE
        elif entry.kind != FILE:
            self.left_out[entry.path] = SPECIAL_FILE

    def _is_text(self, entry: Entry) -> bool:
        try:
            urls.check_text(entry.path)
        except BadInput:
            if self._rule.strict:
                raise
            self.left_out[entry.path] = NOT_TEXT
            return False
        return True

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        """Name the folder that can't be listed, or leave it out."""
        try:
            yield
        except (BadInput, TimeoutError, ConnectionError):
            raise
        except (FileNotFoundError, NotADirectoryError):
            # It was removed a moment ago.
            return
        except Exception as error:
            # The errors of fsspec's filesystems have no common base.
            if isinstance(self._tree, LocalTree) and not isinstance(error, OSError):
                raise
            if self._rule.strict:
                reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
                problem = f"can't be listed: {reason}"
                remedy = "Check the path and the permissions, or leave it out"
                raise BadInput("input", path, problem, remedy) from error
            self.left_out[path] = UNREADABLE


def _is_below(path: str, places: list[str]) -> bool:
    """Return whether a path is one of some places, or below one."""
    return any(f"{path}/".startswith(f"{place}/") for place in places)
