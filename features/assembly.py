"""Model inputs from encoded rows: the one place, for training batches and for live requests."""

from typing import Any

import numpy as np
import numpy.typing as npt

from features.catalogue import Catalogue
from features.encoding import HOUR_MS, Encoded
from features.rates import rate_features
from features.schema import Schema

GAP_ROWS = 33
AGE_SCALE = 8.0

Inputs = dict[str, npt.NDArray[Any]]


class Assembler:
    """Turns rows and counts into the named arrays that the models take.

    User inputs (batch, ...): `user_codes, user_multi, user_numbers, context_codes,
    context_numbers, user_rates, history_codes, history_multi, history_numbers, history_gaps,
    history_steps`; the history is chronological from index 0 and padded at its end. Gaps tell the
    time from each event to the request, steps to the next event (the last one's to the request);
    their codes are 0 in padding.
    Item inputs (..., features): `item_codes, item_multi, item_numbers, item_age, item_rates`.
    Codes are int64, everything else float32.
    """

    def __init__(self, schema: Schema, catalogue: Catalogue) -> None:
        self.schema = schema
        self.catalogue = catalogue

    def user_inputs(
        self,
        user: Encoded,
        context: Encoded,
        *,
        timestamps_ms: npt.NDArray[np.int64],
        history: npt.NDArray[Any],
        history_ms: npt.NDArray[np.int64],
        counts: npt.NDArray[np.float32],
    ) -> Inputs:
        """Assemble the user side of a batch.

        Args:
            user: encoded users (batch, ...).
            context: encoded contexts (batch, ...).
            timestamps_ms: request instants (batch,).
            history: item rows (batch, length), 0 where padded.
            history_ms: their instants (batch, length).
            counts: of user and context entities (batch, entities, 1 + tasks).
        """
        items = self.catalogue.encoded.take(history)
        return {
            "user_codes": user.codes.astype(np.int64),
            "user_multi": user.multi.astype(np.int64),
            "user_numbers": user.numbers,
            "context_codes": context.codes.astype(np.int64),
            "context_numbers": context.numbers,
            "user_rates": rate_features(counts, self.schema),
            "history_codes": items.codes.astype(np.int64),
            "history_multi": items.multi.astype(np.int64),
            "history_numbers": items.numbers,
            "history_gaps": self._gaps(timestamps_ms, history, history_ms),
            "history_steps": self._steps(timestamps_ms, history, history_ms),
        }

    def item_inputs(
        self,
        rows: npt.NDArray[Any],
        *,
        timestamps_ms: npt.NDArray[np.int64],
        counts: npt.NDArray[np.float32],
    ) -> Inputs:
        """Assemble items by row (n,), at instants (n,), with counts (n, entities, 1 + tasks)."""
        return {
            **self.static_item_inputs(self.catalogue.encoded.take(rows)),
            "item_age": self._age(self.catalogue.published_ms[rows], timestamps_ms),
            "item_rates": rate_features(counts, self.schema),
        }

    @staticmethod
    def static_item_inputs(items: Encoded) -> Inputs:
        """Assemble what does not depend on time: the item tower's inputs."""
        return {
            "item_codes": items.codes.astype(np.int64),
            "item_multi": items.multi.astype(np.int64),
            "item_numbers": items.numbers,
        }

    def _gaps(
        self,
        timestamps_ms: npt.NDArray[np.int64],
        history: npt.NDArray[Any],
        history_ms: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        elapsed_ms = timestamps_ms[:, None] - history_ms
        return np.where(history > 0, gap_codes(elapsed_ms, has_time=self.schema.has_time), 0)

    def _steps(
        self,
        timestamps_ms: npt.NDArray[np.int64],
        history: npt.NDArray[Any],
        history_ms: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        is_real = history > 0
        request_ms = timestamps_ms[:, None]
        next_ms = np.concatenate([history_ms[:, 1:], request_ms], axis=1)
        is_followed = np.concatenate([is_real[:, 1:], np.zeros_like(is_real[:, :1])], axis=1)
        elapsed_ms = np.where(is_followed, next_ms, request_ms) - history_ms
        return np.where(is_real, gap_codes(elapsed_ms, has_time=self.schema.has_time), 0)

    def _age(
        self, published_ms: npt.NDArray[np.int64], timestamps_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return (is known, log hours since publishing), (n, 2); zeros where unknown."""
        is_known = (published_ms >= 0) & self.schema.has_time
        hours = np.maximum(timestamps_ms - published_ms, 0) / HOUR_MS
        age = np.where(is_known, np.log1p(hours) / AGE_SCALE, 0.0)
        return np.stack([is_known, age], axis=-1).astype(np.float32)


def gap_codes(elapsed_ms: npt.NDArray[np.int64], *, has_time: bool) -> npt.NDArray[np.int64]:
    """Return log2 buckets of elapsed seconds, 1..32; all 1 for order-only data."""
    if not has_time:
        return np.ones(elapsed_ms.shape, np.int64)
    seconds = np.maximum(elapsed_ms, 0) // 1000
    codes = np.clip(np.floor(np.log2(1.0 + seconds)), 0, GAP_ROWS - 2) + 1
    return codes.astype(np.int64)
