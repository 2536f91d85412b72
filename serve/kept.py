"""What a pipeline can look up instead of computing it."""

from dataclasses import dataclass

from serve.caches.answers import AnswerCache
from serve.precomputed import PrecomputedAnswers
from serve.withdrawals import Withdrawals


@dataclass(frozen=True)
class Kept:
    """What was kept from before the request; None is not looked up.

    Attributes:
        answers: to requests that may come again.
        precomputed: items for users, for when the stages cannot answer.
        withdrawals: what nobody shall see.
    """

    answers: AnswerCache | None = None
    precomputed: PrecomputedAnswers | None = None
    withdrawals: Withdrawals | None = None


NOTHING_KEPT = Kept()
