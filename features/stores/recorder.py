"""How events change a user's record: the one place, for live events and for filling."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from features.rates import bucket_of, label_sums
from features.schema import Schema
from features.stores.layouts import Layouts, layout_of
from features.stores.record import Record, UserEvent

MAX_RECENT = 64
POSITIVE = 0.5


class Recorder:
    """Applies events to records by the rules of a schema.

    Args:
        schema: tells the tasks, the positive one and the update interval.
        max_positives: items kept of a user's positive history.
        layouts: tell the rules of other schemas' records; None knows no others.
    """

    def __init__(
        self, schema: Schema, max_positives: int = 2_000, layouts: Layouts | None = None
    ) -> None:
        self.schema = schema
        self.max_positives = max(max_positives, schema.history_length)
        self.tasks = [task.name for task in schema.tasks]
        self._kinds: list[str] = [task.kind for task in schema.tasks]
        self._positive = schema.task_index(schema.positive)
        self.layout = layout_of(schema)
        self._layouts = layouts
        self._others: dict[str, Recorder] = {}

    def empty(self, attributes: Mapping[str, Any] | None = None) -> Record:
        """Return the record of a user without events."""
        width = 1 + len(self.tasks)
        zeros = [0.0] * width
        return Record(self.layout, dict(attributes or {}), totals=zeros, pending=zeros.copy())

    def appended(self, record: Record | None, events: Iterable[UserEvent]) -> Record:
        """Return the record after live events, in whatever order they came.

        An event with the id of a recent event, or with the item and instant of a recent event or
        of a kept positive, is that event again: labels that were unknown are filled in, nothing
        is counted twice. A record of other rules that holds more than its recent events goes on
        by those rules, where they are known, until it is filled by these: nothing is lost.
        """
        record = self._current(record)
        rules = self._rules(record)
        for event in events:
            rules._append(record, event)
        return record

    def filled(
        self,
        record: Record,
        item_ids: list[str],
        timestamps_ms: npt.NDArray[np.int64],
        labels: npt.NDArray[np.float32],
    ) -> Record:
        """Return an empty record after a user's whole past, as `appended` would event by event.

        Args:
            record: made by `empty`.
            item_ids: canonical ids, oldest event first.
            timestamps_ms: (n,), rising.
            labels: (n, tasks), NaN where missing.
        """
        record = record.copy()
        buckets = self._buckets(timestamps_ms)
        record.bucket = int(buckets[-1])
        counts = self._counts(labels)
        before = int(np.searchsorted(buckets, record.bucket))
        record.totals = counts[:before].sum(axis=0).tolist()
        record.pending = counts[before:].sum(axis=0).tolist()
        positives = np.flatnonzero(labels[:, self._positive] >= POSITIVE)[-self.max_positives :]
        record.item_ids = [item_ids[i] for i in positives.tolist()]
        record.item_ms = timestamps_ms[positives].tolist()
        return record

    def refilled(self, fresh: Record, old: Record | None, data_end_ms: int) -> Record:
        """Return a filled record with what the old one heard live after the data ended.

        Events that the old one holds no more count no more, but for positives of the same rules,
        which stay in the history.
        """
        if old is None:
            return fresh.copy()
        later = [event for event in old.recent if event.timestamp_ms > data_end_ms]
        record = self.appended(fresh, later)
        if old.layout == self.layout:
            begin = bisect_right(old.item_ms, data_end_ms)
            kept = zip(old.item_ids[begin:], old.item_ms[begin:], strict=True)
            for event in (UserEvent(item_id, instant, {}) for item_id, instant in kept):
                if not _is_kept(record, event):
                    self._remember(record, event)
        return record

    def counts(self, record: Record, now_ms: int) -> npt.NDArray[np.float32]:
        """Return a user's counts as of the update interval of `now_ms`: (1 + tasks,).

        Of a record of other rules, what they do not count is 0.
        """
        if record.layout == self.layout:
            return self._own_counts(record, now_ms)
        record = self._current(record)
        rules = self._rules(record)
        places = {(task, kind): i for i, (task, kind) in enumerate(rules._counted(), 1)}
        counts = np.append(rules._own_counts(record, now_ms), np.float32(0))
        return counts[[0, *(places.get(pair, -1) for pair in self._counted())]]

    def _own_counts(self, record: Record, now_ms: int) -> npt.NDArray[np.float32]:
        counts = np.asarray(record.totals)
        if self._bucket(now_ms) > record.bucket:
            counts = counts + np.asarray(record.pending)
        return counts.astype(np.float32)

    def _counted(self) -> Iterable[tuple[str, str]]:
        return zip(self.tasks, self._kinds, strict=True)

    def _current(self, record: Record | None) -> Record:
        """Return a record of one's own layout, or of another one if that holds more."""
        if record is None:
            return self.empty()
        is_whole = record.filled is None and len(record.recent) < MAX_RECENT
        if record.layout == self.layout or not (is_whole or self._other(record.layout) is None):
            return record.copy()
        return self.appended(self.empty(record.attributes), record.recent)

    def _rules(self, record: Record) -> "Recorder":
        """Return what a record that is current goes by."""
        other = None if record.layout == self.layout else self._other(record.layout)
        return other or self

    def _other(self, layout: str) -> "Recorder | None":
        """Return the recorder of another layout, where its rules are known."""
        if layout not in self._others and self._layouts is not None:
            schema = self._layouts.find(layout, self.schema)
            if schema is not None:
                self._others[layout] = Recorder(schema, self.max_positives)
        return self._others.get(layout)

    def _append(self, record: Record, event: UserEvent) -> None:
        labels = {task: event.labels[task] for task in self.tasks if task in event.labels}
        twin = _twin(record.recent, event)
        if twin is not None:
            labels = {task: labels[task] for task in labels if task not in twin.labels}
            twin.labels.update(labels)
        elif _is_kept(record, event):
            return
        else:
            record.recent.append(replace(event, labels=dict(labels)))
            del record.recent[:-MAX_RECENT]
        self._count(record, event.timestamp_ms, labels, is_new=twin is None)
        if labels.get(self.schema.positive, 0.0) >= POSITIVE:
            self._remember(record, event)

    def _count(
        self, record: Record, timestamp_ms: int, labels: Mapping[str, float], *, is_new: bool
    ) -> None:
        row = [labels.get(task, np.nan) for task in self.tasks]
        counts = self._counts(np.asarray([row], np.float32))[0]
        counts[0] = float(is_new)
        bucket = self._bucket(timestamp_ms)
        if bucket > record.bucket:
            record.totals = _added(record.totals, record.pending)
            record.pending, record.bucket = counts.tolist(), bucket
        elif bucket == record.bucket:
            record.pending = _added(record.pending, counts.tolist())
        else:
            record.totals = _added(record.totals, counts.tolist())

    def _remember(self, record: Record, event: UserEvent) -> None:
        place = bisect_right(record.item_ms, event.timestamp_ms)
        record.item_ids.insert(place, event.item_id)
        record.item_ms.insert(place, event.timestamp_ms)
        del record.item_ids[: -self.max_positives]
        del record.item_ms[: -self.max_positives]

    def _counts(self, labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return what events (n, tasks) add to the counts: (n, 1 + tasks)."""
        sums = label_sums(labels, self._kinds).astype(np.float64)
        return np.concatenate([np.ones((len(labels), 1)), sums], axis=1)

    def _buckets(self, timestamps_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return bucket_of(timestamps_ms, self.schema.interval_ms, self.schema.utc_offset_ms)

    def _bucket(self, timestamp_ms: int) -> int:
        return (timestamp_ms + self.schema.utc_offset_ms) // self.schema.interval_ms


def _twin(recent: list[UserEvent], event: UserEvent) -> UserEvent | None:
    for known in reversed(recent):
        is_named = event.event_id is not None and known.event_id == event.event_id
        if is_named or (known.timestamp_ms, known.item_id) == (event.timestamp_ms, event.item_id):
            return known
    return None


def _is_kept(record: Record, event: UserEvent) -> bool:
    begin = bisect_left(record.item_ms, event.timestamp_ms)
    end = bisect_right(record.item_ms, event.timestamp_ms)
    return event.item_id in record.item_ids[begin:end]


def _added(left: list[float], right: list[float]) -> list[float]:
    return [a + b for a, b in zip(left, right, strict=True)]
