"""The start-up check that exactly one of faiss-cpu and faiss-gpu is installed."""

from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version

from cluster.errors import InputError

PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs")


def check_faiss(installed: Collection[str] | None = None) -> str:
    """Return the one faiss package; they all own the same folder.

    Args:
        installed: names of installed packages; None asks the environment.

    Raises:
        InputError: there is none, or there are several.
    """
    found = [name for name in PACKAGES if _is_installed(name, installed)]
    if not found:
        raise InputError("faiss is not installed: install exactly one of the extras cpu and gpu")
    if len(found) > 1:
        raise InputError(
            f"{' and '.join(found)} are installed over each other: uninstall all of them, then "
            "install exactly one of the extras cpu and gpu"
        )
    return found[0]


def _is_installed(name: str, installed: Collection[str] | None) -> bool:
    if installed is not None:
        return name in installed
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
