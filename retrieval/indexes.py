"""Which index a catalogue gets, and how a saved one is opened."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval.config import IndexConfig
from retrieval.exact import ExactIndex
from retrieval.index import Index
from retrieval.installation import check_faiss
from retrieval.ivf import IvfIndex
from retrieval.recall import Truth

KINDS: dict[str, type[ExactIndex] | type[IvfIndex]] = {"exact": ExactIndex, "ivf": IvfIndex}
KIND_FILE = "kind.json"


def build_index(vectors: npt.NDArray[np.float32], truth: Truth, config: IndexConfig) -> Index:
    """Build the index that the catalogue's size or the config asks for.

    Args:
        vectors: item vectors (items + 1, dim), row 0 zero.
        truth: sampled users that an approximate index is tuned on.
        config: the kind, the threshold and the recall to reach.
    """
    check_faiss()
    kind = config.kind
    if kind == "auto":
        kind = "ivf" if len(vectors) - 1 > config.ivf_threshold else "exact"
    if kind == "exact":
        return ExactIndex.build(vectors)
    return IvfIndex.build(vectors, truth, config.min_recall)


def save_index(index: Index, folder: Path) -> None:
    """Write the index and its kind."""
    folder.mkdir()
    index.save(folder)
    (folder / KIND_FILE).write_text(json.dumps({"kind": index.kind}))


def open_index(folder: Path) -> Index:
    """Memory-map a saved index."""
    check_faiss()
    kind = json.loads((folder / KIND_FILE).read_text())["kind"]
    return KINDS[kind].open(folder)
