"""The feature profile: how every input is distributed over training impressions.

Later data is compared with it to find drift. It is read from an evenly spaced sample of the
training shards, so that its cost does not grow with the data.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.assembly import Inputs
from features.encoding import Encoded
from features.examples import Examples
from features.schema import Feature, Schema
from features.timelines import SPLITS

PROFILE_FILE = "profile.json"
SAMPLE_ROWS = 100_000
TOP_VALUES = 50
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
MIN_PER_PARTITION = 1


def profile(examples: Examples) -> dict[str, Any]:
    """Describe the training split's features, rates, histories and labels."""
    parts = [_sample(examples, partition) for partition in range(examples.num_partitions)]
    parts = [part for part in parts if len(part["labels"])]
    sample = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    schema = examples.schema
    return {
        "split": SPLITS[0],
        "sampled": len(sample["labels"]),
        "features": {
            f"{feature.owner}.{feature.name}": _feature(examples, feature, sample)
            for feature in schema.features
        },
        "rates": _rates(schema, sample),
        "history_length": _quantiles(sample["history_length"]),
        "labels": {
            task.name: _label(sample["labels"][:, index], base)
            for index, (task, base) in enumerate(zip(schema.tasks, schema.base_rates, strict=True))
        },
    }


def save_profile(examples: Examples, folder: Path) -> None:
    """Write `profile.json`."""
    (folder / PROFILE_FILE).write_text(json.dumps(profile(examples), indent=1))


def _sample(examples: Examples, partition: int) -> Inputs:
    """Read evenly spaced training impressions of one partition."""
    shard = examples.shard(SPLITS[0], partition)
    wanted = max(MIN_PER_PARTITION, SAMPLE_ROWS // examples.num_partitions)
    index = np.unique(np.linspace(0, max(len(shard) - 1, 0), wanted).astype(np.int64))
    index = index[: len(shard)]
    return {
        "user": shard.user[index],
        "item": shard.item[index],
        "context_codes": shard.context_codes[index],
        "context_numbers": shard.context_numbers[index],
        "user_counts": shard.user_counts[index],
        "item_counts": shard.item_counts[index],
        "history_length": shard.history_end[index] - shard.history_begin[index],
        "labels": shard.labels[index],
    }


def _feature(examples: Examples, feature: Feature, sample: Inputs) -> dict[str, Any]:
    encoded = _encoded(examples, feature, sample)
    names = [f.name for f in examples.schema.select(feature.owner, feature.kind)]
    position = names.index(feature.name)
    if feature.kind == "numeric":
        return {"kind": "numeric", "standardised": _quantiles(encoded.numbers[:, position])}
    codes = encoded.multi if feature.kind == "multi" else encoded.codes
    values = examples.vocabularies[f"{feature.owner}.{feature.name}"].values
    return {"kind": feature.kind, **_categories(codes[:, position], values)}


def _encoded(examples: Examples, feature: Feature, sample: Inputs) -> Encoded:
    if feature.owner == "user":
        return examples.users.take(sample["user"])
    if feature.owner == "item":
        return examples.catalogue.encoded.take(sample["item"])
    no_multi = np.zeros((len(sample["labels"]), 0, 0), np.int32)
    return Encoded(sample["context_codes"], no_multi, sample["context_numbers"])


def _categories(codes: npt.NDArray[Any], values: list[str]) -> dict[str, Any]:
    """Return shares of impressions: of the most frequent values, and without any known value.

    Args:
        codes: (n,), or (n, values) of a multi-valued feature.
        values: the vocabulary, code c at index c - 1.
    """
    n = len(codes)
    unknown = (codes if codes.ndim == 1 else codes.max(axis=1, initial=0)) == 0
    counts = np.bincount(codes.reshape(-1), minlength=len(values) + 1)[1:]
    top = np.argsort(-counts, kind="stable")[:TOP_VALUES]
    return {
        "unknown": float(unknown.mean()),
        "values": len(values),
        "top": {values[i]: float(counts[i] / n) for i in top if counts[i]},
    }


def _rates(schema: Schema, sample: Inputs) -> dict[str, Any]:
    entities = [*schema.entities_of("user"), *schema.entities_of("context")]
    named = [(e.name, sample["user_counts"][:, i]) for i, e in enumerate(entities)]
    named += [
        (e.name, sample["item_counts"][:, i]) for i, e in enumerate(schema.entities_of("item"))
    ]
    return {
        name: {
            "without_impressions": float((counts[:, 0] == 0).mean()),
            "impressions": _quantiles(counts[:, 0]),
            "sums": {
                task.name: _quantiles(counts[:, 1 + i]) for i, task in enumerate(schema.tasks)
            },
        }
        for name, counts in named
    }


def _label(values: npt.NDArray[np.float32], base: float) -> dict[str, Any]:
    present = values[np.isfinite(values)]
    return {
        "base_rate": base,
        "missing": 1.0 - len(present) / max(len(values), 1),
        "mean": float(present.mean()) if len(present) else None,
        "quantiles": _quantiles(present),
    }


def _quantiles(values: npt.NDArray[Any]) -> dict[str, float]:
    if not len(values):
        return {}
    levels = np.quantile(values.astype(np.float64), QUANTILES)
    return {f"{q:g}": float(level) for q, level in zip(QUANTILES, levels, strict=True)}
