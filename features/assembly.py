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
    context_numbers, user_rates, history_codes, history_multi, history_numbers, history_gaps`;
    the history is chronological from index 0 and padded at its end, padding has gap code 0.
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
        """Return log2 buckets of the seconds since each history item, 1..32; 0 is padding."""
        if not self.schema.has_time:
            return (history > 0).astype(np.int64)
        seconds = np.maximum(timestamps_ms[:, None] - history_ms, 0) // 1000
        codes = np.clip(np.floor(np.log2(1.0 + seconds)), 0, GAP_ROWS - 2) + 1
        return np.where(history > 0, codes, 0).astype(np.int64)

    def _age(
        self, published_ms: npt.NDArray[np.int64], timestamps_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return (is known, log hours since publishing), (n, 2); zeros where unknown."""
        is_known = (published_ms >= 0) & self.schema.has_time
        hours = np.maximum(timestamps_ms - published_ms, 0) / HOUR_MS
        age = np.where(is_known, np.log1p(hours) / AGE_SCALE, 0.0)
        return np.stack([is_known, age], axis=-1).astype(np.float32)
