"""New files of a watched folder: which can be read, which rows of them count, and their commit."""

from dataclasses import asdict, dataclass
from itertools import groupby

from pyroaring import BitMap64

from transforms.catalog.layout import SegmentPaths, segment_name
from transforms.catalog.options import ColumnOptions
from transforms.catalog.parts import PartFormat, complete_parts, rejected_ids
from transforms.catalog.plan import Plan
from transforms.catalog.segment import check_metadata
from transforms.catalog.snapshot import newest_snapshot, read_segment, was_committed
from transforms.errors import BadInput, Damaged, check_above_zero
from transforms.index.build import build_index, describe_segment
from transforms.index.lexical.build import build_lexical, choose_language
from transforms.index.options import IndexOptions, LexicalOptions
from transforms.ingest.partitioning import plan_parts
from transforms.ingest.read_parts import read_ids, read_slices
from transforms.ingest.survey import Footer, Survey, read_footer, slices_of, survey_footers
from transforms.models.identity import ModelIdentity
from transforms.storage import filesystem, input_files, remedies
from transforms.storage.filesystem import FileInfo
from transforms.storage.schema import ROW
from transforms.streaming.checkpoint_writer import condense
from transforms.streaming.journal import Journal, JournalState
from transforms.streaming.journal_entries import Entry
from transforms.streaming.message_versions import newest_rows, rows_to_embed, without_known
from transforms.transactions.commits import commit_segment
from transforms.transactions.removal import remove_documents

#: The most files of one entry; the others wait for the next one.
FILES_PER_ENTRY = 64


@dataclass(frozen=True)
class WatchOptions:
    """Options of a watch.

    Attributes:
        inputs: folders or globs.
        store: the store's URL.
        columns: which columns hold what.
        identity: the identity of the model.
        vector_dtype: ``float32`` or ``float16``.
        index: the index of each segment.
        rate: expected tokens per second of a worker.
        every: seconds between two polls.
        lexical: the lexical index of each segment.
        rows_per_part: input rows of a part; None chooses.
        places: the inputs with their links, which are looked up at each poll; () for ``inputs``.
        messages: the files are those of `LandMessages`. Each is complete when it appears, versions
            decide which rows count, and a file is removed once its rows are in the store.
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
    places: tuple[str, ...] = ()
    messages: bool = False

    def __post_init__(self) -> None:
        """Raise BadInput if the interval is not positive."""
        check_above_zero("every", self.every, "Give a time such as 30s")

    @property
    def journal(self) -> Journal:
        """The journal of these inputs."""
        return Journal.of(self.store, self.inputs)


def list_new(options: WatchOptions, state: JournalState) -> list[FileInfo]:
    """Return the files that the journal has not taken, by their identities."""
    files = _list(options)
    taken = state.taken_files()
    if options.messages:
        # These files are named after their content: one that is written again is the same.
        urls = {file.url for file in taken}
        return [file for file in files if file.url not in urls]
    return [file for file in files if file not in taken]


def _list(options: WatchOptions) -> tuple[FileInfo, ...]:
    """Return the files that are there now; an empty folder may still get its first one."""
    return input_files.poll_inputs(options.places or options.inputs, options.store).files


def plan_entry(
    options: WatchOptions, state: JournalState, files: list[FileInfo], seen: float
) -> Entry:
    """Survey files, create the plan of their segment, and return the next entry of the journal.

    A file that can't be read, or whose columns don't fit, is rejected with its reason. Of each
    id the last row counts, in the order of files and rows. The journal is condensed if that is due.
    """
    # The number comes from the state without an open entry: another watch may have added one since.
    number = state.last_number + 1
    state = condense(state)
    survey, rejected = survey_new_files(options, files)
    name = segment_name(
        {
            "watch": [asdict(file) for file in files],
            # Files that are taken again must not find a segment that was given up.
            "entry": number,
            "columns": options.columns.to_dict(),
            "identity": {**options.identity.to_dict(), "name": "", "revision": ""},
            "vector_dtype": options.vector_dtype,
        }
    )
    parts = 0
    if survey is not None:
        paths = SegmentPaths(options.store, name)
        paths.claim()
        choose = _choose_messages if options.messages else _choose_rows
        chosen = choose(state, name, survey)
        if any(chosen):
            plan = plan_parts(survey, options.rows_per_part, options.rate, chosen)
            parts = len(paths.create_plan(plan).parts)
    return Entry(number, name, parts, tuple(files), rejected, seen)


def _choose_rows(state: JournalState, segment: str, survey: Survey) -> list[BitMap64]:
    """Return the rows that count of each file, and write their ids to the journal."""
    last, rows = last_rows(survey)
    ids: dict[str, list[str]] = {}
    for name, file in last.items():
        ids.setdefault(survey.files[file].url, []).append(name)
    state.journal.write_ids(segment, ids)
    return rows


def _choose_messages(state: JournalState, segment: str, survey: Survey) -> list[BitMap64]:
    """Return the rows that count of each file, and write their versions to the journal."""
    new = without_known(state, newest_rows(survey))
    state.journal.write_versions(
        segment, {name: (each.version, each.deleted) for name, each in new.items()}
    )
    return rows_to_embed(survey, new.values())


def survey_new_files(
    options: WatchOptions, files: list[FileInfo]
) -> tuple[Survey | None, dict[str, str]]:
    """Return the survey of the files that can be read and fit, and why the others can't be used."""
    newest = newest_snapshot(options.store)
    refs = newest.segments if newest is not None else ()
    others = [(ref.name, read_segment(options.store, ref).metadata) for ref in refs]
    good: list[FileInfo] = []
    footers: list[Footer] = []
    found: Survey | None = None
    rejected = {}
    for file in files:
        try:
            footer = read_footer(file, options.columns.text_column)
            stored = [schema for _, schema in others]
            survey = survey_footers([*good, file], [*footers, footer], options.columns, stored)
            check_metadata(survey.schema, others)
            _check_readable(survey_footers([file], [footer], options.columns, [survey.schema]))
        except BadInput as error:
            rejected[file.url] = str(error)
        else:
            good.append(file)
            footers.append(footer)
            found = survey
    return found, rejected


def _check_readable(survey: Survey) -> None:
    """Read all rows of a survey's files; raises BadInput if that fails."""
    for _ in read_slices(survey, *slices_of(survey)):
        pass


def last_rows(survey: Survey) -> tuple[dict[str, int], list[BitMap64]]:
    """Return the rows that count: the last row of each id, and all rows without an id.

    Returns:
        The file in which each id occurs last, and the rows of each file.
    """
    last: dict[str, tuple[int, int]] = {}
    rows = [BitMap64() for _ in survey.files]
    for file, pieces in groupby(slices_of(survey), lambda piece: piece.file):
        for table in read_ids(survey, *pieces):
            names = table.column("document_id").to_pylist()
            for name, row in zip(names, table.column(ROW).to_pylist(), strict=True):
                if name is None:
                    rows[file].add(row)
                else:
                    last[name] = (file, row)
    for file, row in last.values():
        rows[file].add(row)
    return {name: file for name, (file, _) in last.items()}, rows


def replaced_ids(state: JournalState, entry: Entry) -> set[str]:
    """Return the ids that an earlier version of the entry's files brought, and no file has now."""
    again = state.stored_urls() & ({file.url for file in entry.files} - entry.rejected.keys())
    if not again:
        return set()
    ids = state.journal.read_ids(entry.segment)
    return state.documents_of(again).difference(*ids.values())


def language_of(options: WatchOptions) -> str | None:
    """Return the language of the next segment's lexical index; see `choose_language`."""
    newest = newest_snapshot(options.store)
    refs = newest.segments if newest is not None else ()
    return choose_language(options.lexical, [read_segment(options.store, ref) for ref in refs])


def check_plan_of(entry: Entry, paths: SegmentPaths) -> Plan | None:
    """Return the stored plan of an entry.

    Raises:
        Damaged: it has other files or parts than the entry.
    """
    plan = paths.read_plan()
    if plan is None:
        return None
    plan.check_files(entry.files, paths.plan)
    if len(plan.parts) != entry.parts:
        problem = f"has {len(plan.parts)} parts, but its entry of the journal has {entry.parts}"
        raise Damaged("file", paths.plan, problem, remedies.EMBED_AGAIN)
    return plan


def commit_entry(options: WatchOptions, state: JournalState, entry: Entry) -> int:
    """Index and commit the segment of the open entry; return the newest snapshot.

    All parts of the segment are done. If an attempt that was killed has committed the segment, it
    is not committed again. A second snapshot removes the documents that the files no longer have or
    that can't be embedded any more, and those that messages delete.
    """
    paths = state.journal.paths(entry)
    parts = complete_parts(paths, entry.parts, [])
    # Entries are committed in order, so an earlier attempt came after their snapshots.
    committed = was_committed(options.store, entry.segment, state.last_snapshot)
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
    reasons = {reason for part in parts for reason in part.rejects}
    gone = _removed_ids(options, state, entry) | rejected_ids(paths, parts, reasons)
    return (
        remove_documents(options.store, sorted(gone), "watch").snapshot if gone else newest.number
    )


def _removed_ids(options: WatchOptions, state: JournalState, entry: Entry) -> set[str]:
    if not options.messages:
        return replaced_ids(state, entry)
    versions = state.journal.read_versions(entry.segment)
    return set(versions.filter(versions.column("deleted")).column("document_id").to_pylist())


def remove_taken(options: WatchOptions) -> None:
    """Remove the files of messages that have their rows in the store."""
    stored = options.journal.read().stored_urls()
    # Entries name files as listings do, which may differ from the input's scheme.
    for file in _list(options):
        if file.url in stored:
            filesystem.remove(file.url)
