"""The attribute of the items by which a viewer recognises a taste."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from models.bundle import Bundle

MIN_VALUES = 3
MAX_VALUES = 100


@dataclass(frozen=True)
class Traits:
    """One attribute of the items, by which a viewer recognises a taste.

    `by_item` holds the (first) value by item id as text, most popular items first.
    """

    name: str
    by_item: dict[str, str]

    @classmethod
    def find(cls, bundle: Bundle) -> "Traits | None":
        """Choose the first attribute with a handful of values, such as a topic or genres."""
        table = bundle.catalogue.table
        order = np.argsort(-bundle.catalogue.train_events[1:], kind="stable")
        for feature in bundle.schema.features:
            if feature.owner != "item" or feature.kind == "numeric":
                continue
            values = table[feature.name]
            first = values.list.first() if feature.kind == "multi" else values
            if MIN_VALUES <= first.n_unique() <= MAX_VALUES:
                texts = first.cast(pl.String).fill_null("")[order].to_list()
                ids = table["item_id"].cast(pl.String)[order].to_list()
                return cls(feature.name, dict(zip(ids, texts, strict=True)))
        return None

    def shares(self, answer: dict[str, Any]) -> Counter[str]:
        """Count the values among the items of an answer."""
        return Counter(self.by_item[str(item["item_id"])] for item in answer["items"])

    def rarest(self, answer: dict[str, Any], num_items: int) -> str:
        """Return the value that an answer shows least, among those with so many items."""
        sizes = Counter(value for value in self.by_item.values() if value)
        shares = self.shares(answer)
        common = [value for value, size in sizes.most_common() if size >= num_items]
        return min(common or list(sizes), key=lambda value: shares[value])

    def items(self, value: str) -> list[str]:
        """Return the ids of the items with a value, most popular first."""
        return [item_id for item_id, known in self.by_item.items() if known == value]
