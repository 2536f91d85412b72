"""Retrieval's figures on slices of the test split: new users, new items, short histories."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from features.examples import Examples
from train.rankings import Rankings
from train.retrieval_metrics import means

HISTORY_SLICES = {
    "history_0": (0, 0),
    "history_1_3": (1, 3),
    "history_4_20": (4, 20),
    "history_over_20": (21, np.iinfo(np.int64).max),
}
"""Users by their known positives: the first and last count of each slice."""

Mask = npt.NDArray[np.bool_]


def slices(answers: Mapping[str, Rankings], examples: Examples) -> dict[str, Any]:
    """Return every slice's figures, per scorer, with its numbers of users and targets.

    New are users and items that the training split has no impression of.

    Args:
        answers: by scorer; all to the same queries.
        examples: the prepared data.
    """
    first = next(iter(answers.values()))
    query, items = first.target_query, first.target_items
    num_known = first.num_known[query]
    masks: dict[str, Mask] = {
        "new_users": np.asarray(examples.user_train_events[first.users[query]] == 0),
        "new_items": np.asarray(examples.catalogue.train_events[items] == 0),
        **{
            name: (num_known >= fewest) & (num_known <= most)
            for name, (fewest, most) in HISTORY_SLICES.items()
        },
    }
    return {name: _figures(answers, query, mask) for name, mask in masks.items()}


def _figures(
    answers: Mapping[str, Rankings], query: npt.NDArray[np.int64], mask: Mask
) -> dict[str, Any]:
    return {
        "retrieval": {name: means(answer.metrics(mask)) for name, answer in answers.items()},
        "users": len(np.unique(query[mask])),
        "targets": int(mask.sum()),
    }
