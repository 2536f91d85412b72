"""What the stages of a request hand to each other, and the interface that runs them."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from features.assembly import Inputs
from serve.explanation import Asked, Explanation, Verdict
from serve.messages import Request
from serve.plan import FULL, Plan
from serve.trail import Trail

STAGES = ("hydrate", "retrieve", "filter", "rank", "rerank")


@dataclass(frozen=True)
class StageReport:
    """The four numbers that every stage reports, measured where it ran."""

    stage: str
    """One of STAGES."""
    time_ms: float
    num_in: int
    num_out: int

    @property
    def num_dropped(self) -> int:
        """What entered and did not leave."""
        return max(self.num_in - self.num_out, 0)


@dataclass(frozen=True)
class Query:
    """A hydrated request: everything about the user and the situation.

    Shapes: `inputs` are the assembler's user inputs of one row; `history` (h,) int64 item rows,
    oldest first; `excluded` (e,) int64 item rows, sorted, never to be shown; `allowed` (a,)
    int64 sorted item rows that the request's filters let through, None where it has none.
    """

    bundle: str
    user_id: str
    now_ms: int
    num_items: int
    explain: bool
    inputs: Inputs
    history: npt.NDArray[np.int64]
    excluded: npt.NDArray[np.int64]
    allowed: npt.NDArray[np.int64] | None = None
    plan: Plan = FULL
    reports: tuple[StageReport, ...] = ()
    asked: tuple[Asked, ...] = ()
    """What the request asks about and may show."""
    departures: tuple[Verdict, ...] = ()
    """What the request asks about and may not show."""
    ahead: Any = None
    """What the replica that made this has computed beyond it; see `serve.progress`."""

    @property
    def deadline_ms(self) -> float:
        """Wall clock, milliseconds since 1970: nobody waits for what is computed later."""
        return self.plan.deadline_ms


@dataclass(frozen=True)
class Candidates:
    """What the sources found, best first.

    Shapes: `rows` (n,) int64 item rows, `scores` (n,) float32 comparable over all sources and
    falling, `sources` (n,) int64 index into `source_names`.
    """

    bundle: str
    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    sources: npt.NDArray[np.int64]
    source_names: tuple[str, ...]
    reports: tuple[StageReport, ...] = ()
    trail: Trail | None = None
    """How they came, where the request wants explanations."""
    departures: tuple[Verdict, ...] = ()
    """What the request asks about and is not among them."""
    ahead: Any = None

    def by_source(self) -> dict[str, int]:
        """Return how many each source brought."""
        counts = np.bincount(self.sources, minlength=len(self.source_names)).tolist()
        return dict(zip(self.source_names, counts, strict=True))


@dataclass(frozen=True)
class Ranked:
    """Candidates with the ranker's predictions (n, tasks); `tasks` is empty without a ranker."""

    candidates: Candidates
    tasks: tuple[str, ...]
    predictions: npt.NDArray[np.float32]
    reports: tuple[StageReport, ...] = ()
    departures: tuple[Verdict, ...] = ()
    ahead: Any = None

    @property
    def bundle(self) -> str:
        """The bundle that ranked."""
        return self.candidates.bundle

    @classmethod
    def unranked(cls, candidates: Candidates) -> "Ranked":
        """Keep the retrieval order: no predictions."""
        none = np.zeros((len(candidates.rows), 0), np.float32)
        return cls(candidates, (), none, ahead=candidates.ahead)


@dataclass(frozen=True)
class SlateItem:
    """One item as it is shown."""

    item_id: int | str
    score: float
    source: str
    predictions: dict[str, float | None] = field(default_factory=dict)
    title: str | None = None
    reasons: list[str] | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Slate:
    """The items to show, in order, in the data's own ids."""

    bundle: str
    items: tuple[SlateItem, ...]
    reports: tuple[StageReport, ...] = ()
    departures: tuple[Verdict, ...] = ()
    """What the request asks about, was ranked, and is not shown."""


class Stages(Protocol):
    """Runs the stages, here or on other replicas.

    Whatever is handed over is a picklable dataclass that names the bundle that made it; a stage
    that holds another bundle raises `BundleMismatchError`, so that one bundle answers a request.
    Each result reports its own stages only. A wrong request raises `serve.messages.RequestError`.
    """

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Look up the user and assemble the model inputs; the query carries the plan."""
        ...

    async def retrieve(self, query: Query) -> Candidates:
        """Collect candidates from the sources and filter them."""
        ...

    async def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict every task for every candidate."""
        ...

    async def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Choose and order what is shown."""
        ...


class BundleMismatchError(Exception):
    """Two stages of one request hold different bundles, as during a rollout."""


def check_bundle(own: str, *others: Any) -> None:
    """Refuse to mix bundles within a request."""
    for other in others:
        if other.bundle != own:
            raise BundleMismatchError(f"this stage holds bundle {own}, the request {other.bundle}")
