"""The libraries of the extra ``serve``."""

from importlib import import_module


def check_libraries(*names: str) -> None:
    """Raise an ImportError that names the extra if a library is missing."""
    for name in names:
        try:
            import_module(name)
        except ImportError as error:
            message = f"{name} can't be imported ({error}): pip install 'albeam[serve]'"
            raise ImportError(message, name=name) from error
