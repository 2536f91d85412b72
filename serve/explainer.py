"""What re-ranking did, told of the items that it chose and of those that it left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from serve.explanation import Asked, Choice, Explanation, Reason, Step, Verdict
from serve.presentation import predictions_at
from serve.stages import Ranked
from serve.trail import ranks_of

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Explainer:
    """Explains one slate.

    Args:
        ranked: the candidates (n,).
        values: what they were chosen by (n,).
        relevance: the values, scaled (n,).
        vectors: of the candidates (n, dim), unit-norm.
        diversity: weight of being unlike what is shown already.
        chosen: places of the slate's items among the candidates (k,).
        item_ids: theirs.
        num_items: places of the slate.
    """

    ranked: Ranked
    values: Floats
    relevance: Floats
    vectors: Floats
    diversity: float
    chosen: Rows
    item_ids: Sequence[int | str]
    num_items: int

    @cached_property
    def ranks(self) -> Rows:
        """The candidates' ranks by value, from 1."""
        return ranks_of(self.values)

    def explanations(self) -> list[Explanation]:
        """Return how each item of the slate came there."""
        found = self.ranked.candidates
        return [
            Explanation(
                found.trail.offers(place, found.source_names) if found.trail else (),
                (*self._steps(place), Step("rerank", int(self.ranks[place]), slot + 1)),
                self._choice(slot),
            )
            for slot, place in enumerate(self.chosen.tolist())
        ]

    def verdicts(self, asked: Sequence[Asked], uncapped: Rows) -> tuple[Verdict, ...]:
        """Return why candidates that were asked about are not in the slate.

        Args:
            asked: items, some of which are candidates.
            uncapped: what would have been chosen without a cap (k,).
        """
        place_of = {row: place for place, row in enumerate(self.ranked.candidates.rows.tolist())}
        shown = set(self.chosen.tolist())
        places = [(one, place_of.get(one.row)) for one in asked]
        return tuple(
            self._verdict(one, place, uncapped)
            for one, place in places
            if place is not None and place not in shown
        )

    def _verdict(self, one: Asked, place: int, uncapped: Rows) -> Verdict:
        reason, detail = self._reason(place, uncapped)
        predicted = predictions_at(self.ranked, np.asarray([place]))[0]
        return Verdict(one.item_id, "rerank", reason, detail, self._steps(place), predicted)

    def _reason(self, place: int, uncapped: Rows) -> tuple[Reason, str]:
        rank = int(self.ranks[place])
        if rank > self.num_items:
            return "rank", f"rank {rank} by value; {self.num_items} are shown"
        without_cap = np.flatnonzero(uncapped == place)
        if len(without_cap):
            return "cap", f"without the cap it would be shown at place {without_cap[0] + 1}"
        likeness, like = self._nearest(place, len(self.chosen))
        return "diversity", f"rank {rank} by value, but like item {like} (cosine {likeness:.3g})"

    def _steps(self, place: int) -> tuple[Step, ...]:
        """Return the steps up to ranking; without predictions there was none."""
        trail = self.ranked.candidates.trail
        steps = trail.steps(place) if trail else ()
        ranking = Step("rank", place + 1, int(self.ranks[place]))
        return (*steps, ranking) if self.ranked.tasks else steps

    def _choice(self, slot: int) -> Choice:
        place = int(self.chosen[slot])
        likeness, like = self._nearest(place, slot)
        penalty = self.diversity * max(likeness, 0.0)
        return Choice(float(self.values[place]), float(self.relevance[place]), penalty, like)

    def _nearest(self, place: int, num_above: int) -> tuple[float, int | str | None]:
        """Return the highest cosine with the first items of the slate, and with which."""
        if not num_above:
            return 0.0, None
        cosines = self.vectors[self.chosen[:num_above]] @ self.vectors[place]
        nearest = int(np.argmax(cosines))
        return float(cosines[nearest]), self.item_ids[nearest]
