"""The start-up check that exactly one of faiss-cpu and faiss-gpu is installed."""

from collections.abc import Iterable
from importlib.metadata import distributions

from cluster.errors import InputError


def check_faiss(installed: Iterable[str] | None = None) -> str:
    """Return the one faiss package; both would overwrite each other's files.

    Args:
        installed: names of installed packages; None asks the environment.

    Raises:
        InputError: there is none, or there are several.
    """
    names = _installed() if installed is None else installed
    found = sorted({name.lower() for name in names if name.lower().startswith("faiss-")})
    if not found:
        raise InputError(
            "faiss is not installed: install exactly one of the extras [cpu] and [gpu]"
        )
    if len(found) > 1:
        raise InputError(
            f"{' and '.join(found)} are installed over each other: uninstall all of them, then "
            "install exactly one of the extras [cpu] and [gpu]"
        )
    return found[0]


def _installed() -> list[str]:
    return [distribution.metadata["Name"] or "" for distribution in distributions()]
