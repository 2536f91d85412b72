"""Nested figures, flattened, merged and cleaned."""

import math
from collections.abc import Mapping
from typing import Any


def flat(values: Mapping[str, Any], prefix: str = "", separator: str = ".") -> dict[str, Any]:
    """Join the keys of nested mappings; leaves that are None are left out."""
    joined: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            joined |= flat(value, f"{name}{separator}", separator)
        elif value is not None:
            joined[name] = value
    return joined


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; mappings under the same key are merged, else the second one's value stays."""
    result = dict(first)
    for key, value in second.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = merged(old, value)
        result[key] = value
    return result


def without_nan(value: Any) -> Any:
    """Turn figures that are not numbers, of slices without data, into None: JSON has no NaN."""
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
