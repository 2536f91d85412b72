"""Metrics of ranked lists against sets of targets, one value per user."""

import numpy as np
import numpy.typing as npt

NUM_RANKED = 100
"""Length of the lists that figures and predictions are made of."""

EXPOSURE_LENGTHS = (10, 100)

PerUser = dict[str, npt.NDArray[np.float64]]


def retrieval_metrics(
    ranked: npt.NDArray[np.int64],
    target_query: npt.NDArray[np.int64],
    target_items: npt.NDArray[np.int32],
) -> PerUser:
    """Compute every figure of the report for each list.

    Args:
        ranked: item rows (n, NUM_RANKED), best first, 0 where there are fewer.
        target_query: list that each target belongs to.
        target_items: item row of each target, distinct within a list.

    Returns:
        hit_rate@10, ndcg@10, recall@20, ndcg@20 and recall@100, each (n,); NaN without targets.
    """
    hits = _hits(ranked, target_query, target_items)
    num_targets = np.bincount(target_query, minlength=len(ranked))
    return {
        "hit_rate@10": _defined(hits[:, :10].any(axis=1).astype(float), num_targets),
        "ndcg@10": _ndcg(hits, num_targets, 10),
        "recall@20": _recall(hits, num_targets, 20),
        "ndcg@20": _ndcg(hits, num_targets, 20),
        "recall@100": _recall(hits, num_targets, 100),
    }


def means(per_user: PerUser) -> dict[str, float | None]:
    """Average over the users that have targets; None where nobody has."""
    averages: dict[str, float | None] = {}
    for name, values in per_user.items():
        known = values[~np.isnan(values)]
        averages[name] = float(known.mean()) if len(known) else None
    return averages


def exposure(ranked: npt.NDArray[np.int64], num_items: int) -> dict[str, float | None]:
    """Tell how the lists spread over the catalogue.

    Accuracy alone would not notice a model that shows everybody the same few items.

    Args:
        ranked: item rows (n, NUM_RANKED) from 1, best first, 0 where there are fewer.
        num_items: size of the catalogue.

    Returns:
        coverage@k, the share of the catalogue that occurs in some list's first k; and gini@k, the
        Gini coefficient of how often each item does: 0 for all alike, towards 1 for a single one.
        None without lists.
    """
    figures: dict[str, float | None] = {}
    for k in EXPOSURE_LENGTHS:
        shown = np.bincount(ranked[:, :k].ravel(), minlength=num_items + 1)[1:]
        is_defined = bool(shown.any())
        figures[f"coverage@{k}"] = float((shown > 0).mean()) if is_defined else None
        figures[f"gini@{k}"] = _gini(shown) if is_defined else None
    return figures


def _gini(counts: npt.NDArray[np.int64]) -> float:
    n = len(counts)
    ranks = np.arange(1, n + 1)
    return float((2 * ranks - n - 1) @ np.sort(counts) / (n * counts.sum()))


def _hits(
    ranked: npt.NDArray[np.int64],
    target_query: npt.NDArray[np.int64],
    target_items: npt.NDArray[np.int32],
) -> npt.NDArray[np.bool_]:
    """Tell which ranked items are targets of their list (n, NUM_RANKED)."""
    width = int(max(ranked.max(initial=0), target_items.max(initial=0))) + 1
    lists = np.arange(len(ranked))[:, None]
    return np.isin(lists * width + ranked, target_query * width + target_items)


def _recall(
    hits: npt.NDArray[np.bool_], num_targets: npt.NDArray[np.int64], k: int
) -> npt.NDArray[np.float64]:
    found = hits[:, :k].sum(axis=1) / np.maximum(num_targets, 1)
    return _defined(found, num_targets)


def _ndcg(
    hits: npt.NDArray[np.bool_], num_targets: npt.NDArray[np.int64], k: int
) -> npt.NDArray[np.float64]:
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(num_targets, k)]
    gained = hits[:, :k] @ discounts[: hits[:, :k].shape[1]]
    return _defined(gained / np.maximum(ideal, 1e-12), num_targets)


def _defined(
    values: npt.NDArray[np.float64], num_targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    return np.where(num_targets > 0, values, np.nan)
