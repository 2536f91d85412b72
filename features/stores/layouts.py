"""The rules behind the layouts of a store's records, known to every process that opens it."""

import json
from typing import Any

from cluster.storage import content_hash
from features.config import TaskConfig
from features.schema import Schema
from features.stores.store import Store

FACT = "layout"


def layout_of(schema: Schema) -> str:
    """Return the identity of what records hold by the rules of a schema."""
    kinds = [task.kind for task in schema.tasks]
    names = [task.name for task in schema.tasks]
    return content_hash([names, kinds, schema.positive, schema.interval_ms, schema.utc_offset_ms])


class Layouts:
    """Remembers the rules of layouts in the store.

    While bundles of different rules are open, each meets records that were written by the other's.

    Args:
        store: of the records.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    def state(self, schema: Schema) -> None:
        """Tell what a schema's layout means, before there are records of it."""
        name = _name(layout_of(schema))
        rules = {
            "tasks": [task.model_dump(mode="json") for task in schema.tasks],
            "positive": schema.positive,
            "interval_ms": schema.interval_ms,
            "utc_offset_ms": schema.utc_offset_ms,
        }
        if self.store.fact(name) is None:
            self.store.state(name, json.dumps(rules))

    def find(self, layout: str, like: Schema) -> Schema | None:
        """Return a schema with a layout's rules; None for a layout that nobody stated.

        Args:
            layout: of a record.
            like: tells what is no rule of records.
        """
        fact = self.store.fact(_name(layout))
        if fact is None:
            return None
        rules: dict[str, Any] = json.loads(fact)
        rules["tasks"] = tuple(TaskConfig.model_validate(task) for task in rules["tasks"])
        return like.model_copy(update=rules)


def _name(layout: str) -> str:
    return f"{FACT} {layout}"
