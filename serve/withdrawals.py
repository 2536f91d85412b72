"""Items that are not to be shown, whatever bundle answers; the online store tells every replica."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.stores.store import Store
from features.vocabulary import canonical

FACT = "withdrawn"
GENERATION = "withdrawn.generation"


class UnknownItemError(Exception):
    """An item that neither the catalogue nor the withdrawals know."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"the catalogue has no item {item_id!r}")


@dataclass(frozen=True)
class Withdrawn:
    """What was withdrawn at some moment: sorted item rows (n,) int64."""

    generation: str
    rows: npt.NDArray[np.int64]


class Withdrawals:
    """Withdraws items and restores them, for all replicas of the host and over restarts.

    The store counts the changes: a request reads that count, and the items only where it has
    moved. It moves after the items have, so that whoever reads a count reads items at least as
    new.

    Args:
        store: holds the items by canonical id, so that they stay withdrawn in the next bundle.
        rows: item rows by canonical id.
    """

    def __init__(self, store: Store, rows: Mapping[str, int]) -> None:
        self.store = store
        self._rows = rows
        self.last = Withdrawn("", np.zeros(0, np.int64))
        """What was read last: for when the store cannot be read."""

    def current(self) -> Withdrawn:
        """Return what is withdrawn; may be called from several threads."""
        generation, found = self.generation(), self.last
        if generation != found.generation:
            rows = sorted(self._rows[item_id] for item_id in self._item_ids() & self._rows.keys())
            self.last = found = Withdrawn(generation, np.asarray(rows, np.int64))
        return found

    def generation(self) -> str:
        """Return what differs after every change."""
        return self.store.fact(GENERATION) or ""

    def withdraw(self, item_id: int | str) -> None:
        """Show an item no more, from the next request on.

        Raises:
            UnknownItemError: there is no such item.
        """
        self._change(canonical(item_id), is_withdrawn=True)

    def restore(self, item_id: int | str) -> None:
        """Take a withdrawal back.

        Raises:
            UnknownItemError: there is no such item.
        """
        self._change(canonical(item_id), is_withdrawn=False)

    def _change(self, item_id: str, *, is_withdrawn: bool) -> None:
        if item_id not in self._rows and item_id not in self._item_ids():
            raise UnknownItemError(item_id)

        def revised(fact: str | None) -> str:
            item_ids = _unpacked(fact)
            return _packed(item_ids | {item_id} if is_withdrawn else item_ids - {item_id})

        self.store.revise(FACT, revised)
        self.store.revise(GENERATION, lambda fact: str(int(fact or 0) + 1))

    def _item_ids(self) -> set[str]:
        return _unpacked(self.store.fact(FACT))


def _packed(item_ids: set[str]) -> str:
    return json.dumps(sorted(item_ids))


def _unpacked(fact: str | None) -> set[str]:
    return set(json.loads(fact or "[]"))
