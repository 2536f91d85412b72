"""Exactly one faiss package may be installed."""

import pytest

from cluster.errors import InputError
from retrieval.installation import check_faiss


@pytest.mark.parametrize("package", ["faiss-cpu", "faiss-gpu", "faiss-gpu-cu12"])
def test_one_is_fine(package: str) -> None:
    assert check_faiss(["numpy", package]) == package


def test_this_environment_is_fine() -> None:
    assert check_faiss().startswith("faiss-")


def test_none_is_refused() -> None:
    with pytest.raises(InputError, match="not installed"):
        check_faiss(["numpy", "faissier"])


def test_two_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="faiss-cpu and faiss-gpu-cu12 are installed over"):
        check_faiss(["faiss-gpu-cu12", "faiss-cpu"])
