"""The libraries of the extras ``serve`` and ``otel``."""

from importlib import import_module


def check_libraries(*names: str, extra: str = "serve") -> None:
    """Raise an ImportError that names the extra if a library is missing."""
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            message = f"{name} can't be imported ({error}): pip install 'albeam[{extra}]'"
            raise ImportError(message, name=name) from error
