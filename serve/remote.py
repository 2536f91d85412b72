"""The stages wherever the topology has put them: in this process or on other replicas."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ray.exceptions import RayActorError, RayTaskError

from serve.messages import Request
from serve.plan import Plan
from serve.progress import Progress, outgoing, received
from serve.stages import BundleMismatchError, Candidates, Query, Ranked, Slate, Stages
from serve.topology import PLACED, StageName

# Plain pickle is enough for dataclasses of arrays and takes half the time of cloudpickle.
TRANSPORT = {"request_serialization": "pickle", "response_serialization": "pickle"}
FIRST_PAUSE_S = 0.005
LONGEST_PAUSE_S = 0.1


class Observer(Protocol):
    """Hears of calls that were made again."""

    def count_retry(self, deployment: str) -> None:
        """Count a call that went to another replica."""
        ...


class RemoteGroup:
    """The consecutive stages that one deployment holds.

    Args:
        name: the deployment's.
        stages: which it holds.
        handle: calls it.
        observer: hears of retries.
    """

    def __init__(
        self, name: str, stages: Sequence[StageName], handle: Any, observer: Observer
    ) -> None:
        self.name = name
        self.stages = tuple(stages)
        self.observer = observer
        self._run = handle.options(**TRANSPORT).run

    async def run(self, stage: StageName, progress: Progress) -> Progress:
        """Run a stage and those that follow it here, in one call.

        A replica that dies on the way loses nothing but time, and so does one that has not
        opened the request's bundle yet: every stage may be run again, so the call is repeated, on
        another replica if there is one, until the caller gives up.
        """
        names = self.stages[self.stages.index(stage) :]
        carried = outgoing(progress, names)
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                answer: Progress = await self._run.remote(names, carried)
                return received(answer, progress)
            except RayTaskError as error:
                if not isinstance(error.cause, BundleMismatchError):
                    raise error.cause from error
                self.observer.count_retry(self.name)
            except RayActorError:
                self.observer.count_retry(self.name)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


class PlacedStages:
    """Runs each stage where it lies.

    What a call has computed beyond its own stage waits in the message's `ahead`.

    Args:
        local: the stages in this process.
        groups: those on other replicas.
        bundle_id: the bundle that answers; None where replicas hold only one.
    """

    def __init__(
        self, local: Stages, groups: Sequence[RemoteGroup], bundle_id: str | None = None
    ) -> None:
        self.local = local
        self.bundle_id = bundle_id
        self.groups: Mapping[StageName, RemoteGroup] = {
            stage: group for group in groups for stage in group.stages
        }

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Look up the user."""
        plan = replace(plan, bundle=self.bundle_id)
        if "hydrate" not in self.groups:
            return await self.local.hydrate(request, plan)
        query: Query = await self._call("hydrate", Progress(plan, request), None)
        return query

    async def retrieve(self, query: Query) -> Candidates:
        """Collect candidates."""
        if "retrieve" not in self.groups:
            return await self.local.retrieve(query)
        found: Candidates = await self._call(
            "retrieve", Progress(query.plan, query=query), query.ahead
        )
        return found

    async def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict."""
        if "rank" not in self.groups:
            return await self.local.rank(query, candidates)
        has_come_so_far = candidates.ahead is not None and candidates.ahead.ranked is not None
        if not query.plan.is_ranked and not has_come_so_far:
            return Ranked.unranked(candidates)
        given = Progress(query.plan, query=query, candidates=candidates)
        ranked: Ranked = await self._call("rank", given, candidates.ahead)
        return ranked

    async def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Choose."""
        if "rerank" not in self.groups:
            return await self.local.rerank(query, ranked)
        given = Progress(query.plan, query=query, ranked=ranked)
        slate: Slate = await self._call("rerank", given, ranked.ahead)
        return slate

    async def _call(self, stage: StageName, given: Progress, ahead: Progress | None) -> Any:
        """Return what a stage makes, from an earlier call that came so far or from a new one."""
        made = ahead.made(stage) if ahead is not None else None
        if made is None:
            ahead = await self.groups[stage].run(stage, given)
            made = ahead.made(stage)
        assert made is not None, f"{stage} made nothing"
        return made if stage == PLACED[-1] else replace(made, ahead=ahead)
