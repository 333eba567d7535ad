"""Errors of the service that are no faults of an option."""

from transforms.errors import AlbeamError, BadInput


class NotFound(BadInput):
    """Something that is not there, or that the key may not see: the answers are the same."""


class NoKey(AlbeamError):
    """A request without a key that the service knows."""


class NotAllowed(AlbeamError):
    """A request that its key does not allow."""


class TooLarge(BadInput):
    """A request with more bytes than are taken."""


class Overloaded(AlbeamError):
    """A request that came while too many others were in progress."""


class TooLate(AlbeamError):
    """A request that took too long."""


class Broken(AlbeamError):
    """A request that the service can't answer for a fault of its own."""
