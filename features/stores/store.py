"""The online store: records and pre-computed answers by user, read by many, written in turn."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from features.stores.record import Record

Change = Callable[[Record | None], Record]
"""Takes a user's record, None where there is none, and returns what replaces it.

It may be called again when a transaction is repeated, and keeps its argument as it was.
"""
Revision = Callable[[str | None], str]
"""Takes a fact, None where it was never written, and returns what replaces it."""


class Store(Protocol):
    """What is kept by canonical user id (`features.vocabulary.canonical`), and a few named facts.

    Safe to use from several threads; implementations say which processes may share one.
    """

    def read(self, user_id: str) -> Record | None:
        """Return a user's record; None for an unknown user."""
        ...

    def version(self, user_id: str) -> bytes:
        """Return what differs whenever the user's record does; empty for an unknown user."""
        ...

    def user_ids(self) -> Iterator[str]:
        """Yield every user with a record, in no order; those who come meanwhile may be missed.

        Ids of more than 510 bytes may be kept in a form that does not tell them, and are missed.
        """
        ...

    def update(self, changes: Mapping[str, Change]) -> None:
        """Replace the records of these users, all of them in one step or none."""
        ...

    def answer(self, user_id: str) -> bytes | None:
        """Return the answer that was pre-computed for a user; None where there is none."""
        ...

    def keep_answers(self, answers: Mapping[str, bytes]) -> None:
        """Replace the answers of these users, all of them in one step or none."""
        ...

    def delete(self, user_id: str) -> bool:
        """Erase a user's record and answer; tell whether there was something to erase."""
        ...

    def prune(self, keep: Callable[[Record], bool]) -> int:
        """Erase every user whose record `keep` refuses; return how many."""
        ...

    def fact(self, name: str) -> str | None:
        """Return a fact about the store itself, such as what it was filled from."""
        ...

    def state(self, name: str, value: str) -> None:
        """Write a fact, durably and after everything that was written before it."""
        ...

    def revise(self, name: str, revision: Revision) -> None:
        """Replace a fact in one step, durably: of two at a time, none is lost."""
        ...

    def close(self) -> None:
        """Let go of files and connections; whatever was written is kept."""
        ...
