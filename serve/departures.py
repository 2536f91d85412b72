"""Where the items that a request asks about left it before they were ranked, and why."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from features.vocabulary import canonical
from retrieval.candidates import Retrieved
from serve.explanation import Asked, Verdict
from serve.filters import Filters
from serve.messages import Request
from serve.stages import Slate

Rows = npt.NDArray[np.int64]
Parted = tuple[tuple[Asked, ...], tuple[Verdict, ...]]


def before_retrieval(
    request: Request,
    *,
    rows: Mapping[str, int],
    seen: Rows,
    withdrawn: Rows,
    filters: Filters,
) -> Parted:
    """Part the items that may be shown from those that may not.

    Args:
        request: asks about `why_not`.
        rows: item rows by canonical id.
        seen: rows that the user has seen and shall not see again.
        withdrawn: rows that nobody shall see.
        filters: finds items by their attributes.
    """
    if not request.why_not:
        return (), ()
    excluded = {canonical(item_id) for item_id in request.exclude}
    seen_rows, withdrawn_rows = set(seen.tolist()), set(withdrawn.tolist())
    asked, left = [], []
    for item_id in request.why_not:
        row = rows.get(canonical(item_id), 0)
        missed = filters.missed(request.filters, row) if row else None
        if not row:
            left.append(Verdict(item_id, "hydrate", "unknown", "the catalogue has no such item"))
        elif row in withdrawn_rows:
            left.append(Verdict(item_id, "filter", "withdrawn", "it was withdrawn"))
        elif canonical(item_id) in excluded:
            left.append(Verdict(item_id, "filter", "excluded", "the request excludes it"))
        elif row in seen_rows:
            left.append(Verdict(item_id, "filter", "seen", "it is in the user's history"))
        elif missed:
            left.append(Verdict(item_id, "filter", "filtered", missed))
        else:
            asked.append(Asked(item_id, row))
    return tuple(asked), tuple(left)


def at_retrieval(
    asked: Sequence[Asked], found: Retrieved, kept: Rows, *, vectors: npt.NDArray[np.float32]
) -> tuple[Verdict, ...]:
    """Return verdicts on the items that are not among the candidates.

    Args:
        asked: what may be shown.
        found: what the sources brought.
        kept: the candidates' rows.
        vectors: item vectors (items + 1, dim).
    """
    candidates = set(kept.tolist())
    verdicts = []
    for one in asked:
        if one.row in candidates:
            continue
        similarity = float(vectors[one.row] @ found.vector)
        detail = f"its similarity to the user is {similarity:.3g}"
        if len(found):
            lowest, highest = found.similarity.min(), found.similarity.max()
            detail += f", the candidates' {lowest:.3g} to {highest:.3g}"
        said = f"{_cause(one.row, found, num_kept=len(kept))}; {detail}"
        verdicts.append(Verdict(one.item_id, "retrieve", "not_retrieved", said))
    return tuple(verdicts)


def verdicts(request: Request, departures: Sequence[Verdict], slate: Slate) -> list[Verdict] | None:
    """Return one verdict for every item that was asked about; None where nothing was asked.

    What neither left nor is shown was lost with a stage that was late or failed.
    """
    if not request.why_not:
        return None
    left = {canonical(verdict.item_id): verdict for verdict in departures}
    places = {canonical(item.item_id): place for place, item in enumerate(slate.items, start=1)}
    return [
        _verdict(item_id, places.get(canonical(item_id)), left.get(canonical(item_id)))
        for item_id in request.why_not
    ]


def _verdict(item_id: int | str, place: int | None, departure: Verdict | None) -> Verdict:
    if place is not None:
        return Verdict(item_id, None, "shown", f"it is shown at place {place}")
    lost = Verdict(item_id, "fallback", "degraded", "popular items stand in for a stage")
    return departure or lost


def _cause(row: int, found: Retrieved, *, num_kept: int) -> str:
    """Tell why an item that may be shown is not among the candidates that were kept."""
    if (found.rows == row).any():
        return f"retrieved, but only the nearest {num_kept} went on"
    places = {
        name: np.flatnonzero(offered.rows == row)
        for name, offered in zip(found.names, found.offers, strict=True)
    }
    offers = [f"{name} at rank {place[0] + 1}" for name, place in places.items() if len(place)]
    return f"past the quotas: {', '.join(offers)}" if offers else "no source offered it"
