"""The fourth stage: every task's prediction for every candidate."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from features.assembly import Inputs
from models.bundle import Bundle
from serve.counts import Counts
from serve.stages import Candidates, Query, Ranked, StageReport, check_bundle


class Ranker:
    """Runs a bundle's ranker: the user's side once, then all candidates.

    A bundle without a ranker keeps the order of retrieval.

    Args:
        bundle: holds the exported programs and the item features.
        counts: of items.
    """

    def __init__(self, bundle: Bundle, counts: Counts) -> None:
        self.bundle = bundle
        self.counts = counts
        self.tasks = tuple(task.name for task in bundle.schema.tasks)
        self._user_side = bundle.program("ranker_user") if bundle.has_ranker else None
        self._item_side = bundle.program("ranker_items") if bundle.has_ranker else None

    def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict, keeping the candidates' order.

        Raises:
            ValueError: the ranker gave nothing but NaN.
        """
        check_bundle(self.bundle.id, query, candidates)
        started = time.perf_counter()
        ranked = Ranked.unranked(candidates)
        if self._user_side is not None and len(candidates.rows):
            items = self.item_inputs(candidates.rows, query.now_ms)
            ranked = Ranked(candidates, self.tasks, self.predict(query.inputs, items))
        elapsed_ms = 1000 * (time.perf_counter() - started)
        num = len(candidates.rows)
        return Ranked(
            ranked.candidates,
            ranked.tasks,
            ranked.predictions,
            (StageReport("rank", elapsed_ms, num, num),),
        )

    def item_inputs(self, rows: npt.NDArray[np.int64], now_ms: int) -> Inputs:
        """Assemble the items' side as of an instant."""
        return self.bundle.assembler.item_inputs(
            rows,
            timestamps_ms=np.full(len(rows), now_ms, np.int64),
            counts=self.counts.items(rows, now_ms),
        )

    def predict(self, user: Inputs, items: Inputs) -> npt.NDArray[np.float32]:
        """Return predictions (n, tasks) of one user and n items."""
        assert self._user_side is not None, "a bundle without a ranker"
        assert self._item_side is not None, "a bundle without a ranker"
        with torch.inference_mode():
            state = self._user_side(_tensors(user))
            found: torch.Tensor = self._item_side(state, _tensors(items))
            predictions: npt.NDArray[np.float32] = found.float().numpy()
        if not np.isfinite(predictions).any():
            raise ValueError("the ranker gave no finite prediction")
        return predictions


def _tensors(inputs: dict[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in inputs.items()}
