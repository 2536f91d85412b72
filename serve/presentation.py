"""Item rows as they are shown: the data's own ids, titles and reasons."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle
from serve.explanation import Explanation
from serve.stages import Query, Ranked, SlateItem

REASONS = {
    "two_tower": "suits users like you",
    "popular": "many like it at present",
    "fresh": "new",
}


class Presenter:
    """Presents the items of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        table = bundle.catalogue.table
        self._ids: list[int | str] = table["item_id"].to_list()
        self._titles: list[str | None] | None = (
            table["title"].to_list() if "title" in table.columns else None
        )
        self._vectors = np.asarray(bundle.array("item_vectors"))

    def items(
        self,
        ranked: Ranked,
        places: npt.NDArray[np.int64],
        scores: npt.NDArray[np.float32],
        query: Query | None = None,
        explanations: Sequence[Explanation | None] = (),
    ) -> tuple[SlateItem, ...]:
        """Present the candidates at `places` (n,) with their `scores` (n,).

        Args:
            ranked: the candidates and their predictions.
            places: in the order of the slate.
            scores: what they were ordered by.
            query: gives reasons where it asks for them.
            explanations: (n,), or none of them.
        """
        found = ranked.candidates
        predictions = predictions_at(ranked, places)
        sources = [found.source_names[source] for source in found.sources[places].tolist()]
        rows = found.rows[places]
        titles = [self._title(row) for row in rows.tolist()]
        reasons: Sequence[list[str] | None] = [None] * len(rows)
        if query is not None and query.explain:
            reasons = self._reasons(rows, sources, predictions, query.history)
        explained = explanations or [None] * len(rows)
        shown = zip(
            self.item_ids(rows),
            scores.tolist(),
            sources,
            predictions,
            titles,
            reasons,
            explained,
            strict=True,
        )
        return tuple(SlateItem(*values) for values in shown)

    def item_ids(self, rows: npt.NDArray[np.int64]) -> list[int | str]:
        """Return the data's own ids of item rows."""
        return [self._ids[row - 1] for row in rows.tolist()]

    def _title(self, row: int) -> str | None:
        return self._titles[row - 1] if self._titles is not None else None

    def _reasons(
        self,
        rows: npt.NDArray[np.int64],
        sources: Sequence[str],
        predictions: Sequence[dict[str, float | None]],
        history: npt.NDArray[np.int64],
    ) -> list[list[str]]:
        """Tell the source, the most similar item of the history, and the predictions."""
        nearest = self._nearest(rows, history)
        return [
            [
                REASONS.get(source, source),
                *([f"similar to {self._title(near) or self._ids[near - 1]}"] if near else []),
                *(f"{task} {value:.3g}" for task, value in values.items() if value is not None),
            ]
            for source, near, values in zip(sources, nearest, predictions, strict=True)
        ]

    def _nearest(
        self, rows: npt.NDArray[np.int64], history: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Return the history's item row nearest to each row, 0 where there is no history."""
        if not len(history):
            return np.zeros(len(rows), np.int64)
        similarity = self._vectors[rows] @ self._vectors[history].T  # (rows, history)
        return np.asarray(history[np.argmax(similarity, axis=1)])


def predictions_at(ranked: Ranked, places: npt.NDArray[np.int64]) -> list[dict[str, float | None]]:
    """Return predictions by task for each place; None for what is not a finite number."""
    chosen = ranked.predictions[places]
    values = np.where(np.isfinite(chosen), chosen, np.nan).tolist()
    return [
        {t: None if v != v else v for t, v in zip(ranked.tasks, row, strict=True)} for row in values
    ]
