"""The fourth stage: every task's prediction for every candidate."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from features.assembly import Inputs
from models.bundle import Bundle
from serve.counts import Counts
from serve.stages import Candidates, Query, Ranked, StageReport, check_bundle

Predictions = npt.NDArray[np.float32]
Ask = tuple[Query, Candidates]


class Ranker:
    """Runs a bundle's ranker: the user's side once, then all candidates.

    A bundle without a ranker keeps the order of retrieval.

    Args:
        bundle: holds the exported programs and the item features.
        counts: of items.
        max_batch: requests that may be ranked in one call; an older bundle has no program for it.
    """

    def __init__(self, bundle: Bundle, counts: Counts, max_batch: int = 1) -> None:
        self.bundle = bundle
        self.counts = counts
        self.max_batch = max_batch if bundle.has_batch_ranker else 1
        self.tasks = tuple(task.name for task in bundle.schema.tasks)
        self._user_side = bundle.program("ranker_user") if bundle.has_ranker else None
        self._item_side = bundle.program("ranker_items") if bundle.has_ranker else None
        self._both_sides = bundle.program("ranker_batch") if self.max_batch > 1 else None

    def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict, keeping the candidates' order.

        Raises:
            ValueError: the ranker gave nothing but NaN.
        """
        started = time.perf_counter()
        check_bundle(self.bundle.id, query, candidates)
        if self._user_side is None or not len(candidates.rows):
            return _reported(Ranked.unranked(candidates), started)
        items = self.item_inputs(candidates.rows, query.now_ms)
        predictions = _checked(self.predict(query.inputs, items))
        return _reported(Ranked(candidates, self.tasks, predictions), started)

    def rank_together(self, asks: Sequence[Ask]) -> list[Ranked]:
        """Predict for several requests in one call, up to the order of sums as `rank` does.

        Raises:
            ValueError: the ranker gave one of them nothing but NaN.
        """
        full = [ask for ask in asks if len(ask[1].rows)]
        if self._both_sides is None or len(full) == 1:
            return [self.rank(*ask) for ask in asks]
        started = time.perf_counter()
        check_bundle(self.bundle.id, *itertools.chain.from_iterable(asks))
        predicted = iter(self._predict_together(full) if full else ())
        ranked = [
            Ranked(found, self.tasks, _checked(next(predicted)))
            if len(found.rows)
            else Ranked.unranked(found)
            for _, found in asks
        ]
        return [_reported(one, started) for one in ranked]

    def item_inputs(self, rows: npt.NDArray[np.int64], now_ms: int) -> Inputs:
        """Assemble the items' side as of an instant."""
        return self.bundle.assembler.item_inputs(
            rows,
            timestamps_ms=np.full(len(rows), now_ms, np.int64),
            counts=self.counts.items(rows, now_ms),
        )

    def predict(self, user: Inputs, items: Inputs) -> Predictions:
        """Return predictions (n, tasks) of one user and n items."""
        assert self._user_side is not None, "a bundle without a ranker"
        assert self._item_side is not None, "a bundle without a ranker"
        with torch.inference_mode():
            state = self._user_side(_tensors(user))
            return _on_host(self._item_side(state, _tensors(items)))

    def _predict_together(self, asks: Sequence[Ask]) -> list[Predictions]:
        """Return predictions (n, tasks) for each request's n candidates, at least one."""
        assert self._both_sides is not None, "an older bundle"
        users = [query.inputs for query, _ in asks]
        items = [self.item_inputs(found.rows, query.now_ms) for query, found in asks]
        stacked = {name: np.concatenate([own[name] for own in users]) for name in users[0]}
        padded = {name: _padded([own[name] for own in items]) for name in items[0]}
        with torch.inference_mode():
            predicted = _on_host(self._both_sides(_tensors(stacked), _tensors(padded)))
        sizes = [len(found.rows) for _, found in asks]
        return [own[:size] for own, size in zip(predicted, sizes, strict=True)]


def _padded(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Stack arrays (n, ...) with zeros behind the shorter ones: (arrays, longest, ...)."""
    longest = max(map(len, arrays))
    stacked = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(stacked, arrays, strict=True):
        row[: len(array)] = array
    return stacked


def _tensors(inputs: dict[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in inputs.items()}


def _on_host(predictions: torch.Tensor) -> Predictions:
    array: Predictions = predictions.float().cpu().numpy()
    return array


def _checked(predictions: Predictions) -> Predictions:
    if not np.isfinite(predictions).any():
        raise ValueError("the ranker gave no finite prediction")
    return predictions


def _reported(ranked: Ranked, started: float) -> Ranked:
    """Add the stage's numbers; what is ranked in one call takes the time of all of it."""
    num = len(ranked.candidates.rows)
    elapsed_ms = 1000 * (time.perf_counter() - started)
    return replace(ranked, ahead=None, reports=(StageReport("rank", elapsed_ms, num, num),))
