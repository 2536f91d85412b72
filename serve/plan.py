"""How one request is to be answered: by when, and how much work may go into it."""

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Travels with a request to whatever computes for it, in this process or another."""

    bundle: str | None = None
    """The bundle that answers; every stage takes its own of that bundle."""
    deadline_ms: float = math.inf
    """Wall clock, milliseconds since 1970: nobody waits for what is computed later."""
    max_candidates: int | None = None
    """Candidates that go on to ranking, the nearest first; None keeps all."""
    is_ranked: bool = True
    """Whether the ranker is asked; otherwise the order of retrieval stands."""
    is_diverse: bool = True
    """Whether re-ranking weighs how unlike the items are."""

    @property
    def is_full(self) -> bool:
        """Whether nothing is left out for the sake of time."""
        return self.max_candidates is None and self.is_ranked and self.is_diverse

    @property
    def left_s(self) -> float:
        """Seconds to the deadline; negative when it has passed."""
        return self.deadline_ms / 1000 - time.time()


FULL = Plan()
"""Everything, whenever it is done."""


class DeadlinePassedError(TimeoutError):
    """Work that was dropped before it was computed: nobody waits for it any more."""
