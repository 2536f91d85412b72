"""Events on arrival: checked against the tasks and written into their users' records."""

import difflib
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from features.schema import Schema
from features.stores.record import Record, UserEvent
from features.vocabulary import canonical
from serve.hydration import UserSource
from serve.messages import Event, Events, RequestError

IMPRESSION = "impression"
SKIP = "skip"

Path = tuple[str | int, ...]


class EventWriter:
    """Writes events into the online store, so that the very next answer knows them.

    An item that the catalogue does not know is kept in the record: it takes part as soon as a
    bundle knows it.
    """

    def __init__(self, schema: Schema, users: UserSource) -> None:
        self.users = users
        self.positive = schema.positive
        self.kinds = {task.name: task.kind for task in schema.tasks}
        self.tasks = {task.column: task.name for task in schema.tasks}
        self.tasks |= {name: name for name in self.kinds}

    def write(self, events: Events) -> int:
        """Write all events or none; return how many there were.

        Raises:
            RequestError: names the first field that does not fit the tasks.
        """
        now_ms = self.users.clock.now_ms()
        by_user: dict[str, list[UserEvent]] = defaultdict(list)
        for number, event in enumerate(events.events):
            checked = self._checked(event, now_ms, ("events", number))
            by_user[canonical(event.user_id)].append(checked)
        self.users.store.update(
            {user_id: partial(self._append, own) for user_id, own in by_user.items()}
        )
        return len(events.events)

    def _append(self, events: Sequence[UserEvent], record: Record | None) -> Record:
        return self.users.recorder.appended(record, events)

    def _checked(self, event: Event, now_ms: int, path: Path) -> UserEvent:
        labels = self._typed(event.type, (*path, "type"))
        for name, value in event.labels.items():
            labels |= self._label(name, value, (*path, "labels", name))
        for name, value in (event.model_extra or {}).items():
            labels |= self._label(name, value, (*path, name))
        instant = now_ms if event.timestamp is None else min(event.timestamp, now_ms)
        return UserEvent(canonical(event.item_id), instant, labels, event.event_id)

    def _typed(self, name: str | None, path: Path) -> dict[str, float]:
        """Return the labels of a `type`."""
        if name is None or name == IMPRESSION:
            return {}
        if name == SKIP and SKIP not in self.tasks:
            return {self.positive: 0.0}
        task = self._task(name, path)
        if self.kinds[task] != "binary":
            raise RequestError(path, f"{name!r} is not a yes-or-no task; give its value as a label")
        return {task: 1.0}

    def _label(self, name: str, value: float, path: Path) -> dict[str, float]:
        task = self._task(name, path)
        if self.kinds[task] == "binary" and not 0 <= value <= 1:
            raise RequestError(path, "must lie between 0 and 1")
        if self.kinds[task] == "watch_time" and value < 0:
            raise RequestError(path, "must not be negative")
        return {task: value}

    def _task(self, name: str, path: Path) -> str:
        if name in self.tasks:
            return self.tasks[name]
        close = difflib.get_close_matches(name, self.tasks, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"has {', '.join(self.tasks)}"
        raise RequestError(path, f"no such task or label column; {hint}")
