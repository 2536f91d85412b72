"""The interface of a candidate source."""

from typing import Protocol

from retrieval.candidates import Candidates, UserQuery


class Source(Protocol):
    """Brings candidates for one request."""

    name: str

    def candidates(self, query: UserQuery, count: int) -> Candidates:
        """Return at most `count` distinct permitted items, best first.

        Fewer come only where the source has no more; a `count` above the catalogue is fine.
        """
        ...
