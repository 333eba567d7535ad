"""New files of a watched folder: which are whole, which rows of them count, and their commit."""

from collections.abc import Set
from dataclasses import asdict, dataclass

from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import PartFormat, complete_parts, rejected_ids
from transforms.catalog.segment import check_metadata
from transforms.catalog.snapshot import newest_snapshot, read_segment, was_committed
from transforms.errors import BadInput
from transforms.index.build import build_index, describe_segment
from transforms.index.lexical.build import build_lexical, choose_language
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.read_parts import read_ids, read_slice
from transforms.ingest.survey import Survey, slices_of, survey_input
from transforms.models.identity import ModelIdentity
from transforms.storage import filesystem, input_files
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import ROW
from transforms.streaming.journal import Entry, Ledger
from transforms.streaming.message_versions import newest_rows, news, rows_to_embed
from transforms.transactions.commits import commit_segment, remove_documents

#: Files of one entry at most: more wait for the next.
FILES_PER_ENTRY = 64


@dataclass(frozen=True)
class WatchOptions:
    """What is watched, and what becomes of it.

    Attributes:
        inputs: folders or globs.
        store: the store's URL.
        columns: which columns hold what.
        identity: of the model.
        vector_dtype: ``float32`` or ``float16``.
        index: which index each segment gets.
        rate: tokens a second that a worker embeds, as expected.
        every: seconds between two looks.
        lexical: whether each segment gets a lexical index, and for which language.
        rows_per_part: input rows of a part, or None to choose.
        messages: the files are those of `LandMessages`: each is whole when it appears, versions
            say which rows count, and it is removed once its rows are in the store.
    """

    inputs: tuple[str, ...]
    store: str
    columns: ColumnOptions
    identity: ModelIdentity
    vector_dtype: str
    index: IndexOptions
    rate: float
    every: float
    lexical: LexicalOptions = LexicalOptions()
    rows_per_part: int | None = None
    messages: bool = False

    @property
    def ledger(self) -> Ledger:
        """Of these inputs."""
        return Ledger.of(self.store, self.inputs)


def list_new(options: WatchOptions, taken: Set[FileInfo]) -> list[FileInfo]:
    """The files that are not among those which were taken, by their identities."""
    # In an empty folder nothing has come yet.
    files = input_files.list_inputs(options.inputs, empty=True)
    if options.messages:
        # Named after its content: what is written again is the same.
        urls = {file.url for file in taken}
        return [file for file in files if file.url not in urls]
    return [file for file in files if file not in taken]


def plan_entry(options: WatchOptions, files: list[FileInfo], number: int, seen: float) -> Entry:
    """Survey files and settle the plan of their segment.

    A file that can't be read, or whose columns don't fit, is rejected with its reason. Of rows with
    one id the last counts, in the order of files and rows.
    """
    survey, rejected = survey_files(options, files)
    name = segment_name(
        {
            "watch": [asdict(file) for file in files],
            # Files that are taken again meet nothing of a segment that was given up.
            "entry": number,
            "columns": asdict(options.columns),
            "identity": {**options.identity.to_dict(), "name": "", "revision": ""},
            "vector_dtype": options.vector_dtype,
        }
    )
    parts = 0
    if survey is not None:
        paths = SegmentPaths(options.store, name)
        paths.claim()
        choose = _choose_messages if options.messages else _choose_files
        chosen = choose(options.ledger, name, survey)
        if any(chosen):
            plan = plan_parts(survey, options.rows_per_part, options.rate, chosen)
            parts = len(paths.create_plan(plan).parts)
    return Entry(number, name, parts, tuple(files), rejected, seen)


def _choose_files(ledger: Ledger, segment: str, survey: Survey) -> list[BitMap64]:
    places = last_places(survey)
    ledger.write_ids(
        segment, {survey.files[file].url: ids for file, ids in _by_file(places).items()}
    )
    return chosen_rows(survey, places)


def _choose_messages(ledger: Ledger, segment: str, survey: Survey) -> list[BitMap64]:
    new = news(ledger, newest_rows(survey))
    ledger.write_versions(
        segment, {name: (each.version, each.deleted) for name, each in new.items()}
    )
    return rows_to_embed(survey, new.values())


def survey_files(
    options: WatchOptions, files: list[FileInfo]
) -> tuple[Survey | None, dict[str, str]]:
    """The survey of those files that can be read whole and fit, and why the others don't."""
    newest = newest_snapshot(options.store)
    refs = newest.segments if newest is not None else ()
    theirs = [(ref.name, read_segment(options.store, ref).metadata) for ref in refs]
    good: list[FileInfo] = []
    found: Survey | None = None
    rejected = {}
    for file in files:
        try:
            survey = survey_input([*good, file], options.columns)
            check_metadata(survey.schema, theirs)
            alone = survey_input([file], options.columns)
            for piece in slices_of(alone):
                for _ in read_slice(alone, piece):
                    pass
        except BadInput as error:
            rejected[file.url] = str(error)
        else:
            good.append(file)
            found = survey
    return found, rejected


def last_places(survey: Survey) -> dict[str, tuple[int, int]]:
    """Where each id stands last: its file and row."""
    places: dict[str, tuple[int, int]] = {}
    for piece in slices_of(survey):
        for table in read_ids(survey, piece):
            names = table.column("document_id").to_pylist()
            for name, row in zip(names, table.column(ROW).to_pylist(), strict=True):
                if name is not None:
                    places[name] = (piece.file, row)
    return places


def chosen_rows(survey: Survey, places: dict[str, tuple[int, int]]) -> list[BitMap64]:
    """For each file the rows that count: of one id the last, and all rows without an id."""
    rows = [BitMap64() for _ in survey.files]
    for piece in slices_of(survey):
        for table in read_ids(survey, piece):
            names = table.column("document_id").to_pylist()
            for name, row in zip(names, table.column(ROW).to_pylist(), strict=True):
                if name is None or places[name] == (piece.file, row):
                    rows[piece.file].add(row)
    return rows


def _by_file(places: dict[str, tuple[int, int]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name, (file, _) in places.items():
        found.setdefault(file, []).append(name)
    return found


def replaced_ids(ledger: Ledger, entry: Entry) -> set[str]:
    """The ids that earlier versions of an entry's files brought, that no other file has brought
    since, and that the files lack now."""
    earlier = [each for each in ledger.taken_entries() if each.number < entry.number]
    before = {file.url for each in earlier for file in each.files}
    again = before & ({file.url for file in entry.files} - entry.rejected.keys())
    if not again:
        return set()
    owners: dict[str, str] = {}
    for each in earlier:
        for url, ids in ledger.read_ids(each.segment).items():
            owners.update(dict.fromkeys(ids, url))
    ours = ledger.read_ids(entry.segment)
    now = {name for ids in ours.values() for name in ids}
    return {name for name, url in owners.items() if url in again} - now


def language_of(options: WatchOptions) -> str | None:
    """The language of the next segment's lexical index; see `choose_language`."""
    newest = newest_snapshot(options.store)
    refs = newest.segments if newest is not None else ()
    return choose_language(options.lexical, [read_segment(options.store, ref) for ref in refs])


def commit_entry(options: WatchOptions, entry: Entry) -> int:
    """Index and commit an entry's segment, whose parts are all done; the newest snapshot.

    A segment that was committed before, by a try that was killed, is not committed again. What the
    files had before and lack now, or can't be embedded now, and what messages take away, goes in a
    second snapshot.
    """
    paths = options.ledger.paths(entry)
    parts = complete_parts(paths, entry.parts, [])
    # Entries follow one another: this one's snapshot came after those of the others.
    ledger = options.ledger
    closings = (ledger.closing(each.number) for each in ledger.taken_entries())
    last = max((closing.snapshot for closing in closings if closing is not None), default=0)
    committed = was_committed(options.store, entry.segment, last)
    if not committed and any(part.rows for part in parts):
        plan = paths.read_plan()
        assert plan is not None
        form = PartFormat(options.identity, options.vector_dtype, plan.schema)
        index = build_index(paths, parts, options.identity.dim, options.index)
        lexical = build_lexical(paths, parts, language_of(options))
        made = describe_segment(paths, plan, form, parts, index, lexical)
        info, digest = paths.create_manifest(made)
        commit_segment(options.store, info, digest, "append", "watch")
    newest = newest_snapshot(options.store)
    if newest is None:
        return 0
    gone = _gone(options, entry) | rejected_ids(
        paths, parts, {reason for part in parts for reason in part.rejects}
    )
    return (
        remove_documents(options.store, sorted(gone), "watch").snapshot if gone else newest.number
    )


def _gone(options: WatchOptions, entry: Entry) -> set[str]:
    if not options.messages:
        return replaced_ids(options.ledger, entry)
    versions = options.ledger.read_versions(entry.segment)
    return set(versions.filter(versions.column("deleted")).column("document_id").to_pylist())


def remove_taken(options: WatchOptions) -> None:
    """Remove the files of messages whose rows are in the store."""
    taken = {file.url for entry in options.ledger.taken_entries() for file in entry.files}
    # Entries have their files as they are listed, which may be under another scheme's name.
    for file in input_files.list_inputs(options.inputs, empty=True):
        if file.url in taken:
            filesystem.remove(file.url)
