"""What a lookup gives before its rows are there, so that several lookups can wait together."""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class Asked(Protocol):
    """Rows that were asked for; each is taken once.

    Lookups in sharded tables cost a round of messages. Those that are asked before the first of
    them is taken share one: a model asks for all it knows the ids of, then takes.
    """

    def take(self) -> Tensor:
        """Return the vectors."""
        ...


class AtHand:
    """Rows that need no other worker.

    Args:
        read: returns them.
    """

    def __init__(self, read: Callable[[], Tensor]) -> None:
        self._read = read

    def take(self) -> Tensor:
        """Return the vectors."""
        return self._read()
