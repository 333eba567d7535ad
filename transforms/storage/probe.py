"""The probe of a store's server: does a put under a condition hold?"""

from transforms.errors import BadInput
from transforms.storage import filesystem

#: The file in a store on a server that shows that a second put of the same name fails.
PROBE = "exclusive.json"


def probe_exclusive(store: str) -> None:
    """Raise BadInput if a store's server can't be written to, or lets two writers win.

    Some servers ignore the condition of a put that their protocol defines, so it is tried: a second
    put of a name must fail. `PROBE` stays in the store, so that later commands need one request.
    """
    filesystem.check_exclusive(store)
    if filesystem.is_local(store):
        return
    url = filesystem.join(store, PROBE)
    try:
        ignored = all(filesystem.create_exclusively(url, b"{}") for _ in range(2))
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(
            "store",
            store,
            f"can't be written to: {type(error).__name__}: {error}",
            "Check that the bucket exists and that fsspec finds credentials for it",
        ) from error
    if ignored:
        raise BadInput(
            "store",
            store,
            "is on a server that ignores the condition of a put, so two writers could destroy each "
            "other's work",
            "Use a server with conditional writes, or a local folder",
        )
