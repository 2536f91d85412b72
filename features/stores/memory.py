"""The online store in this process's memory, for tests and trials."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping

from features.stores.record import Record
from features.stores.store import Change, Revision


class MemoryStore:
    """A `Store` that one process has to itself and that ends with it."""

    def __init__(self) -> None:
        self._users: dict[str, bytes] = {}
        self._answers: dict[str, bytes] = {}
        self._facts: dict[str, str] = {}
        self._lock = threading.Lock()

    def read(self, user_id: str) -> Record | None:
        """Return a user's record."""
        packed = self._users.get(user_id)
        return None if packed is None else Record.unpack(packed)

    def version(self, user_id: str) -> bytes:
        """Return a digest of a user's record."""
        packed = self._users.get(user_id)
        return b"" if packed is None else hashlib.blake2b(packed, digest_size=16).digest()

    def user_ids(self) -> Iterator[str]:
        """Yield every user with a record."""
        yield from list(self._users)

    def update(self, changes: Mapping[str, Change]) -> None:
        """Replace the records of these users."""
        with self._lock:
            self._users |= {
                user_id: change(self.read(user_id)).pack() for user_id, change in changes.items()
            }

    def answer(self, user_id: str) -> bytes | None:
        """Return a user's pre-computed answer."""
        return self._answers.get(user_id)

    def keep_answers(self, answers: Mapping[str, bytes]) -> None:
        """Replace the answers of these users."""
        with self._lock:
            self._answers |= answers

    def delete(self, user_id: str) -> bool:
        """Erase a user."""
        with self._lock:
            return self._erase(user_id)

    def prune(self, keep: Callable[[Record], bool]) -> int:
        """Erase every user whose record `keep` refuses."""
        with self._lock:
            refused = [u for u, packed in self._users.items() if not keep(Record.unpack(packed))]
            return sum(self._erase(user_id) for user_id in refused)

    def fact(self, name: str) -> str | None:
        """Return a fact about the store itself."""
        return self._facts.get(name)

    def state(self, name: str, value: str) -> None:
        """Write a fact."""
        self._facts[name] = value

    def revise(self, name: str, revision: Revision) -> None:
        """Replace a fact."""
        with self._lock:
            self._facts[name] = revision(self._facts.get(name))

    def close(self) -> None:
        """Nothing to let go of."""

    def _erase(self, user_id: str) -> bool:
        answer = self._answers.pop(user_id, None)
        return self._users.pop(user_id, None) is not None or answer is not None
