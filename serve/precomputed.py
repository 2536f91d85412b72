"""Answers that were computed before they are asked for, kept in the online store by user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgpack

from features.stores.store import Store
from features.vocabulary import canonical

VERSION = 1


@dataclass(frozen=True)
class Precomputed:
    """Items for one user, best first, by canonical id: they outlive the bundle that chose them."""

    bundle: str
    made_ms: int
    item_ids: Sequence[str]
    scores: Sequence[float]

    def pack(self) -> bytes:
        """Serialise to MessagePack."""
        values = [VERSION, self.bundle, self.made_ms, list(self.item_ids), list(self.scores)]
        packed: bytes = msgpack.packb(values)
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> "Precomputed | None":
        """Read what `pack` wrote; None for what another version wrote."""
        version, *values = msgpack.unpackb(packed)
        return cls(*values) if version == VERSION else None


class PrecomputedAnswers:
    """Reads and writes them.

    Args:
        store: holds them.
        exclude_seen: leave out what the user has liked since.
    """

    def __init__(self, store: Store, *, exclude_seen: bool) -> None:
        self.store = store
        self.exclude_seen = exclude_seen

    def of(self, user_id: int | str) -> Precomputed | None:
        """Return a user's items, None where nothing was pre-computed."""
        key = canonical(user_id)
        packed = self.store.answer(key)
        found = Precomputed.unpack(packed) if packed else None
        return self._unseen(key, found) if found and self.exclude_seen else found

    def keep(self, answers: Mapping[str, Precomputed]) -> None:
        """Replace the items of these users, by canonical id."""
        self.store.keep_answers({user_id: one.pack() for user_id, one in answers.items()})

    def _unseen(self, key: str, found: Precomputed) -> Precomputed:
        record = self.store.read(key)
        seen = set(record.item_ids) if record else set()
        kept = [i for i, item_id in enumerate(found.item_ids) if item_id not in seen]
        return Precomputed(
            found.bundle,
            found.made_ms,
            [found.item_ids[i] for i in kept],
            [found.scores[i] for i in kept],
        )
