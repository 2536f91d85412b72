"""One request's way through the stages, as those who count, log and trace hear of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serve.stages import StageReport


@dataclass(frozen=True)
class Call:
    """A call of a stage as its caller saw it, with waiting and transport.

    Attributes:
        stage: what was called; it may report for the stage after it too.
        started_s: since the request began.
        seconds: until the answer came, or was given up.
        reports: what the stages measured; none where it failed or was late.
        computed_s: time in which stages computed, with those that ran ahead in the same call.
    """

    stage: str
    started_s: float
    seconds: float
    reports: tuple[StageReport, ...] = ()
    computed_s: float = 0.0

    @property
    def waited_s(self) -> float:
        """Time in which no stage computed: in queues and on the way."""
        return max(self.seconds - self.computed_s, 0.0)


@dataclass(frozen=True)
class Passage:
    """What became of one request.

    Attributes:
        request_id: as in the answer.
        bundle: what answered.
        seconds: from the request to the answer.
        calls: in order.
        degraded: what the answer names as missing.
        candidates: by source.
        served: items of the answer, by source.
        is_cached: whether the answer was given before, and no stage asked.
    """

    request_id: str
    bundle: str
    seconds: float
    calls: Sequence[Call]
    degraded: Sequence[str]
    candidates: Mapping[str, int]
    served: Mapping[str, int]
    is_cached: bool = False

    @property
    def reports(self) -> list[StageReport]:
        """The four numbers of every stage that ran."""
        return [report for call in self.calls for report in call.reports]


class Observer(Protocol):
    """Hears of each request that was answered."""

    def observe(self, passage: Passage) -> None:
        """Hear of one request; must not block."""
        ...


class Observers:
    """Several observers as one."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def observe(self, passage: Passage) -> None:
        """Tell all of them."""
        for observer in self.observers:
            observer.observe(passage)
