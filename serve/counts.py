"""Where requests take the counts of items and contexts from: here, the bundle's latest."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from features.counting import entity_counts
from features.encoding import Encoded
from models.bundle import Bundle


class Counts(Protocol):
    """Counts of everything but the user, whose own are in the online store."""

    def contexts(self, context: Encoded, now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts of an encoded context's entities: (1, entities, 1 + tasks)."""
        ...

    def items(self, rows: npt.NDArray[Any], now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts of items (n,): (n, entities, 1 + tasks)."""
        ...


class LatestCounts:
    """Counts up to the end of the bundle's data, memory-mapped."""

    def __init__(self, bundle: Bundle) -> None:
        self._schema = bundle.schema
        self._items = np.asarray(bundle.array("item_counts"))
        tables = {
            entity.name: np.asarray(bundle.array(f"context_counts/{entity.name}"))
            for entity in bundle.schema.entities_of("context")
        }
        self._lookups = {name: table.__getitem__ for name, table in tables.items()}

    def contexts(self, context: Encoded, now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts of an encoded context's entities."""
        return entity_counts(self._schema, "context", self._lookups, encoded=context)

    def items(self, rows: npt.NDArray[Any], now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts of items."""
        counts: npt.NDArray[np.float32] = np.take(self._items, rows, axis=0)
        return counts
