"""How good predictions of impressions are: discrimination, calibration, error."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
ECE_BINS = 15
MIN_PROBABILITY = 1e-7


def binary_metrics(
    predicted: Floats, labels: Floats, users: npt.NDArray[np.integer]
) -> dict[str, float]:
    """Return auc, gauc, log_loss, ece and base_rate of probabilities against labels 0 and 1."""
    return {
        "auc": auc(predicted, labels),
        "gauc": gauc(predicted, labels, users),
        "log_loss": log_loss(predicted, labels),
        "ece": ece(predicted, labels),
        "base_rate": float(np.mean(labels, dtype=np.float64)) if len(labels) else float("nan"),
    }


def watch_time_metrics(predicted: Floats, labels: Floats) -> dict[str, float]:
    """Return mae (seconds) and xauc of predicted against watched seconds."""
    mae = (
        float(np.mean(np.abs(predicted - labels), dtype=np.float64))
        if len(labels)
        else float("nan")
    )
    return {"mae": mae, "xauc": xauc(predicted, labels)}


def auc(scores: Floats, labels: Floats) -> float:
    """Return the share of (positive, negative) pairs in right order; ties count half.

    NaN without both classes.
    """
    groups = np.zeros(len(scores), np.int64)
    areas, _ = _areas(scores, labels, groups)
    return float(areas[0]) if len(areas) else float("nan")


def gauc(scores: Floats, labels: Floats, users: npt.NDArray[np.integer]) -> float:
    """Return the mean AUC within users, weighted by impressions (Zhu et al., 2017).

    Users without both classes do not count; NaN when that leaves none.
    """
    areas, sizes = _areas(scores, labels, users)
    return float(np.average(areas, weights=sizes)) if len(areas) else float("nan")


def log_loss(predicted: Floats, labels: Floats) -> float:
    """Return the mean negative log likelihood."""
    if not len(labels):
        return float("nan")
    p = np.clip(predicted.astype(np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log1p(-p)))


def ece(predicted: Floats, labels: Floats) -> float:
    """Return the expected calibration error over bins of equal mass; ties share a bin."""
    if not len(labels):
        return float("nan")
    ranks = _mean_ranks(predicted, np.zeros(len(predicted), np.int64)) - 1
    bins = (ranks * ECE_BINS / len(ranks)).astype(np.int64)
    gaps = np.bincount(bins, weights=predicted.astype(np.float64) - labels)
    return float(np.abs(gaps).sum() / len(labels))


def xauc(scores: Floats, values: Floats) -> float:
    """Return the share of pairs with unequal values that the scores order right; ties count half.

    Exact in O(n log n). NaN when all values are equal.
    """
    _, value_codes = np.unique(values, return_inverse=True)
    _, score_codes = np.unique(scores, return_inverse=True)
    order = np.lexsort((-score_codes, value_codes))
    comparable = _pairs(len(values)) - _tied_pairs(value_codes)
    if not comparable:
        return float("nan")
    both = value_codes.astype(np.int64) * (len(values) + 1) + score_codes
    tied = _tied_pairs(score_codes) - _tied_pairs(both)
    return (_ascending_pairs(score_codes[order]) + 0.5 * tied) / comparable


def _areas(
    scores: Floats, labels: Floats, groups: npt.NDArray[np.integer]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return AUC and size of every group that has both classes (Mann-Whitney)."""
    _, groups = np.unique(groups, return_inverse=True)
    positives = np.bincount(groups, weights=labels)
    sizes = np.bincount(groups)
    rank_sums = np.bincount(groups, weights=labels * _mean_ranks(scores, groups))
    pairs = positives * (sizes - positives)
    has_both = pairs > 0
    wins = rank_sums - positives * (positives + 1) / 2
    return wins[has_both] / pairs[has_both], sizes[has_both]


def _mean_ranks(scores: Floats, groups: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return ranks from 1 within each group; ties share their mean rank."""
    if not len(scores):
        return np.zeros(0)
    order = np.lexsort((scores, groups))
    new_group = np.diff(groups[order], prepend=groups[order[0]] - 1) != 0
    new_run = new_group | (np.diff(scores[order], prepend=np.nan) != 0)
    starts = np.flatnonzero(new_run)
    lengths = np.diff(np.append(starts, len(order)))
    first = np.maximum.accumulate(np.where(new_group, np.arange(len(order)), 0))
    ranks = np.repeat(starts + (lengths + 1) / 2, lengths) - first
    unsorted = np.empty(len(order))
    unsorted[order] = ranks
    return unsorted


def _ascending_pairs(codes: npt.NDArray[np.int64]) -> int:
    """Count pairs i < j with codes[i] < codes[j], bit by bit from the highest.

    Two codes first differ at one bit: among those equal above it, count zeros before ones.
    """
    count = 0
    for bit in reversed(range(int(codes.max(initial=0)).bit_length())):
        prefix = codes >> (bit + 1)
        order = np.argsort(prefix, kind="stable")
        is_one = (codes[order] >> bit & 1).astype(bool)
        zeros = np.cumsum(~is_one)
        starts = np.flatnonzero(np.diff(prefix[order], prepend=-1))
        before = np.append(0, zeros)[starts]
        lengths = np.diff(np.append(starts, len(codes)))
        count += int((zeros - np.repeat(before, lengths))[is_one].sum())
    return count


def _pairs(n: int) -> int:
    return n * (n - 1) // 2


def _tied_pairs(codes: npt.NDArray[np.int64]) -> int:
    counts = np.unique(codes, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())
