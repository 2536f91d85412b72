"""What one gateway sees of its bundles beside each other."""

import asyncio
from collections.abc import Callable, Mapping

from serve.config import ServeSettings
from serve.messages import Answer, Request
from serve.metrics import Metrics
from serve.pipeline import Pipeline
from serve.versions.orders import Orders
from serve.versions.share import UserShare
from serve.versions.tally import Tallies, Tally, is_cached
from serve.versions.unseen import Recent, Shadow

NOTHING = Orders("", ())


class Comparison:
    """Counts the answers of each bundle, and has bundles answer that are not shown.

    Args:
        settings: of the service.
        demand: tells which share of the replica's capacity is in use.
        metrics: count what the challenger does.
    """

    def __init__(
        self, settings: ServeSettings, demand: Callable[[], float], metrics: Metrics
    ) -> None:
        self.config = settings.serve.rollout
        self.orders = NOTHING
        self.metrics = metrics
        self._users = UserShare(settings.recommender, self.config.share)
        self._recent = Recent(self.config.sample, demand)
        self._shadow = Shadow(self.config.sampling, demand)
        self._unseen: Mapping[str, Pipeline] = {}
        self._counted: dict[str, Tally] = {}
        self._told: dict[str, Tally] = {}
        self._trials: dict[str, asyncio.Task[Tally]] = {}

    def canary(self, user_id: int | str) -> str | None:
        """Return the bundle that answers this user instead of the champion."""
        if self.config.mode != "canary" or self.orders.challenger is None:
            return None
        return self.orders.challenger if user_id in self._users else None

    def note(self, request: Request, answer: Answer) -> None:
        """Count an answer that was shown; call on the event loop."""
        self._tally(answer.bundle).note(answer)
        if answer.bundle == self.orders.challenger:
            self.metrics.count_challenger("shown")
            return
        self._recent.note(request, answer)
        if self.config.mode == "shadow" and answer.degraded is None and not is_cached(answer):
            self._offer(request, answer)

    def report(self) -> tuple[Tallies, Tallies]:
        """Return what was counted since the last report was heard, and the trials that ended."""
        for bundle_id, tally in self._counted.items():
            self._told.setdefault(bundle_id, Tally()).add(tally)
        self._counted = {}
        ended = {i: task.result() for i, task in self._trials.items() if task.done()}
        return self._told, ended

    def follow(self, orders: Orders, unseen: Mapping[str, Pipeline]) -> None:
        """Hear the coordinator, who has heard the last report; call on the event loop.

        Args:
            orders: say what is tried, and what the challenger is.
            unseen: answer without being shown, by bundle.
        """
        self.orders, self._unseen, self._told = orders, unseen, {}
        candidate = orders.on_trial or ""
        for bundle_id in self._trials.keys() - {candidate}:
            self._trials.pop(bundle_id).cancel()
        if candidate in unseen and candidate not in self._trials:
            tried = self._recent.tried(unseen[candidate])
            self._trials[candidate] = asyncio.ensure_future(tried)
        challenger = orders.status.get("challenger") or {}
        self.metrics.observe_challenger(challenger.get("overlap"), challenger.get("drift", {}))

    def _offer(self, request: Request, answer: Answer) -> None:
        """Let the challenger answer what the champion computed, if there is room."""
        bundle_id = self.orders.challenger or ""
        challenger = self._unseen.get(bundle_id)
        if challenger is None:
            return
        shown = [item.item_id for item in answer.items]

        def hear(unseen: Answer | None) -> None:
            self._tally(bundle_id).note_unseen(unseen, shown)

        has_room = self._shadow.offer(challenger, request, hear)
        if has_room is not None:
            self.metrics.count_challenger("unseen" if has_room else "no room")

    def _tally(self, bundle_id: str) -> Tally:
        return self._counted.setdefault(bundle_id, Tally())
