"""How far a request has come: what each stage made of it; travels between replicas."""

import asyncio
import logging
import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from traceback import format_exception
from typing import Any

import numpy as np

from serve.correlation import CURRENT, Correlation, correlated
from serve.messages import Request, RequestError
from serve.plan import Plan
from serve.stages import Candidates, Query, Ranked, Slate, Stages
from serve.topology import PLACED, StageName

MAKES: dict[StageName, str] = {
    "hydrate": "query",
    "retrieve": "candidates",
    "rank": "ranked",
    "rerank": "slate",
}
"""The field of `Progress` that each stage fills."""
NOTHING = np.zeros(0, np.int64)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """What stages have made, and the error that ended the last of them."""

    plan: Plan
    request: Request | None = None
    query: Query | None = None
    candidates: Candidates | None = None
    ranked: Ranked | None = None
    slate: Slate | None = None
    failed: StageName | None = None
    error: Exception | None = None
    correlation: Correlation | None = None
    """Whose request a call works for, so that what its replica logs can be found."""

    @property
    def computed_ms(self) -> float:
        """The time that the stages report which made this."""
        made = (self.query, self.candidates, self.ranked, self.slate)
        return sum(report.time_ms for one in made if one is not None for report in one.reports)

    def made(self, stage: StageName) -> Any:
        """Return what a stage made, None when it was not run.

        Raises:
            Exception: what the stage raised.
        """
        if stage == self.failed:
            assert self.error is not None, stage
            raise self.error
        return getattr(self, MAKES[stage])


async def advance(
    stages: Stages, names: Sequence[StageName], given: Progress, *, reserved_s: float = 0.0
) -> Progress:
    """Run consecutive stages; return what they made and, where one of them failed, its error.

    Args:
        stages: run them.
        names: which, in order.
        given: what earlier stages have made.
        reserved_s: what is not ready so long before the deadline has failed, so that what was
            made before it is back in time.
    """
    progress = given
    with correlated(given.correlation):
        for name in names:
            left_s = given.plan.left_s - reserved_s if name != names[-1] else math.inf
            progress = await _tried(stages, name, progress, left_s)
            if progress.failed:
                break
    return _new(progress, given, names)


def outgoing(progress: Progress, names: Sequence[StageName]) -> Progress:
    """Return what a call of these stages has to carry, without what they do not read."""
    query, candidates, ranked = progress.query, progress.candidates, progress.ranked
    if query is not None:
        query = replace(_slim(query, names), reports=(), departures=(), ahead=None)
        if "retrieve" not in names:
            query = replace(query, excluded=NOTHING)
    if candidates is not None:
        candidates = _bare(candidates)
    if ranked is not None:
        own = _bare(ranked.candidates)
        ranked = replace(ranked, candidates=own, reports=(), departures=(), ahead=None)
    return replace(
        progress,
        query=query,
        candidates=candidates,
        ranked=ranked,
        correlation=CURRENT.get(),
    )


def received(answer: Progress, given: Progress) -> Progress:
    """Put the candidates that the call was given back under their predictions."""
    if answer.ranked is None or given.candidates is None:
        return answer
    return replace(answer, ranked=replace(answer.ranked, candidates=given.candidates))


async def _tried(stages: Stages, name: StageName, progress: Progress, left_s: float) -> Progress:
    """Run a stage; return what it made, or its error."""
    try:
        run = _run(stages, name, progress)
        return await asyncio.wait_for(run, left_s if left_s < math.inf else None)
    except (RequestError, TimeoutError) as error:
        return replace(progress, failed=name, error=error)
    except Exception as error:
        logger.exception("%s failed", name)
        return replace(progress, failed=name, error=_portable(error))


async def _run(stages: Stages, name: StageName, progress: Progress) -> Progress:
    request, query = progress.request, progress.query
    if name == "hydrate":
        assert request is not None, name
        return replace(progress, query=await stages.hydrate(request, progress.plan))
    assert query is not None, name
    if name == "retrieve":
        return replace(progress, candidates=await stages.retrieve(query))
    if name == "rank":
        assert progress.candidates is not None, name
        if not progress.plan.is_ranked:
            return replace(progress, ranked=Ranked.unranked(progress.candidates))
        return replace(progress, ranked=await stages.rank(query, progress.candidates))
    assert progress.ranked is not None, name
    return replace(progress, slate=await stages.rerank(query, progress.ranked))


def _new(progress: Progress, given: Progress, names: Sequence[StageName]) -> Progress:
    """Drop what the caller has, and of the query what no later stage reads."""
    query, candidates, ranked = progress.query, progress.candidates, progress.ranked
    if given.query is not None:
        query = None
    elif query is not None:
        query = _slim(query, PLACED[PLACED.index(names[-1]) + 1 :])
    if given.candidates is not None:
        candidates = None
        if ranked is not None:
            ranked = replace(ranked, candidates=_none_of(ranked.bundle))
    if given.ranked is not None:
        ranked = None
    return replace(
        progress,
        request=None,
        query=query,
        candidates=candidates,
        ranked=ranked,
        correlation=None,
    )


def _slim(query: Query, names: Sequence[StageName]) -> Query:
    """Drop the arrays that none of the stages reads."""
    if "retrieve" in names:
        return query
    return replace(query, allowed=None, inputs=query.inputs if "rank" in names else {})


def _bare(candidates: Candidates) -> Candidates:
    """Drop what only the gateway reads."""
    return replace(candidates, reports=(), departures=(), ahead=None)


def _none_of(bundle: str) -> Candidates:
    return Candidates(bundle, NOTHING, NOTHING.astype(np.float32), NOTHING, ())


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent and tells where it was raised."""
    error.add_note("".join(format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a foreign class does when it is copied
        logger.warning("%s cannot be sent; its text is", type(error).__name__, exc_info=True)
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error.with_traceback(None)
