"""The first stage: what is known of the user and the situation, as model inputs."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.encoding import Encoded, hour_codes, weekday_codes
from features.stores.record import Record
from features.stores.recorder import Recorder
from features.stores.store import Store
from features.vocabulary import canonical
from models.bundle import Bundle
from serve.clock import Clock
from serve.counts import Counts
from serve.departures import before_retrieval
from serve.filters import Filters
from serve.messages import Request
from serve.plan import FULL, Plan
from serve.stages import Query, StageReport
from serve.withdrawals import Withdrawals


@dataclass(frozen=True)
class UserSource:
    """Where users are looked up."""

    store: Store
    recorder: Recorder
    clock: Clock


class Hydrator:
    """Turns a request into a query.

    Args:
        bundle: encodes and assembles.
        users: the store, what reads its records, and the clock.
        counts: of contexts.
        exclude_seen: leave out what is in the user's positive history.
    """

    def __init__(
        self, bundle: Bundle, users: UserSource, *, counts: Counts, exclude_seen: bool
    ) -> None:
        self.bundle = bundle
        self.users = users
        self.counts = counts
        self.exclude_seen = exclude_seen
        self.filters = Filters(bundle.catalogue)
        self._rows_by_id = bundle.catalogue.rows_by_id
        self.withdrawals = Withdrawals(users.store, self._rows_by_id)

    def hydrate(self, request: Request, now_ms: int | None = None, *, plan: Plan = FULL) -> Query:
        """Look up the user and assemble the inputs; an unknown user has an empty history.

        Args:
            request: names the user and the context.
            now_ms: the instant of the request; None asks the clock.
            plan: goes on with the query.

        Raises:
            RequestError: a filter names no attribute.
        """
        started = time.perf_counter()
        user_id = canonical(request.user_id)
        record = self.users.store.read(user_id) or self.users.recorder.empty()
        if now_ms is None:
            now_ms = self._now_ms(record)
        seen = self._rows(record.item_ids)
        history, history_ms = self._history(seen, record.item_ms, now_ms)
        excluded = [
            self._rows(map(canonical, request.exclude)),
            seen * self.exclude_seen,
            self.withdrawals.current().rows,
        ]
        inputs = self._inputs(record, request, now_ms, history=history, history_ms=history_ms)
        asked, departures = before_retrieval(
            request,
            rows=self._rows_by_id,
            seen=excluded[1],
            withdrawn=excluded[2],
            filters=self.filters,
        )
        elapsed_ms = 1000 * (time.perf_counter() - started)
        num_used = int(np.count_nonzero(history))
        return Query(
            bundle=self.bundle.id,
            user_id=user_id,
            now_ms=now_ms,
            num_items=request.num_items,
            explain=request.explain,
            inputs=inputs,
            history=history[0, :num_used],
            excluded=np.unique(np.concatenate(excluded)),
            allowed=self.filters.allowed(request.filters),
            plan=plan,
            reports=(StageReport("hydrate", elapsed_ms, len(record.item_ids), num_used),),
            asked=asked,
            departures=departures,
        )

    def _now_ms(self, record: Record) -> int:
        """Return the clock's time, or just after the user's last event if that is not past yet.

        Clocks of several hosts differ by a little, and history is what came strictly before.
        """
        return max(self.users.clock.now_ms(), *(ms + 1 for ms in record.item_ms[-1:]), 0)

    def _rows(self, item_ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Return item rows of canonical ids; 0 for what the catalogue does not know."""
        return np.asarray([self._rows_by_id.get(item_id, 0) for item_id in item_ids], np.int64)

    def _history(
        self, rows: npt.NDArray[np.int64], item_ms: list[int], now_ms: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the newest known items strictly before `now_ms`: (1, length), padded with 0."""
        length = self.bundle.schema.history_length
        timestamps = np.asarray(item_ms, np.int64)
        chosen = np.flatnonzero((rows > 0) & (timestamps < now_ms))[-length:]
        history, history_ms = np.zeros((2, 1, length), np.int64)
        history[0, : len(chosen)] = rows[chosen]
        history_ms[0, : len(chosen)] = timestamps[chosen]
        return history, history_ms

    def _inputs(
        self,
        record: Record,
        request: Request,
        now_ms: int,
        *,
        history: npt.NDArray[np.int64],
        history_ms: npt.NDArray[np.int64],
    ) -> dict[str, npt.NDArray[Any]]:
        encoder = self.bundle.encoder
        context = encoder.record("context", {**request.context, **self._clock_values(now_ms)})
        return self.bundle.assembler.user_inputs(
            encoder.record("user", record.attributes),
            context,
            timestamps_ms=np.asarray([now_ms]),
            history=history,
            history_ms=history_ms,
            counts=self._counts(record, context, now_ms),
        )

    def _clock_values(self, now_ms: int) -> dict[str, int]:
        """Return the context that derives from the instant of the request."""
        now, offset = np.asarray([now_ms]), self.bundle.schema.utc_offset_ms
        return {
            "hour": int(hour_codes(now, offset)[0]) - 1,
            "weekday": int(weekday_codes(now, offset)[0]) - 1,
        }

    def _counts(self, record: Record, context: Encoded, now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts of user and context entities: (1, entities, 1 + tasks)."""
        own = self.users.recorder.counts(record, now_ms)
        of_user = np.tile(own, (1, len(self.bundle.schema.entities_of("user")), 1))
        return np.concatenate([of_user, self.counts.contexts(context, now_ms)], axis=1)
