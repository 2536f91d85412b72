"""The last stage: value, diversity and caps make a slate of the ranked candidates."""

import time
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from cluster.errors import ConfigError
from features.counting import feature_codes
from features.schema import Schema
from models.bundle import Bundle
from serve.config import RerankConfig
from serve.explainer import Explainer
from serve.explanation import Explanation, Verdict
from serve.presentation import Presenter
from serve.stages import Query, Ranked, Slate, StageReport, check_bundle

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Reranker:
    """Chooses what is shown.

    Args:
        bundle: holds the item vectors and attributes.
        weights: of each task in an item's value; empty takes the positive task alone.
        config: diversity and caps.
    """

    def __init__(self, bundle: Bundle, weights: Mapping[str, float], config: RerankConfig) -> None:
        self.bundle = bundle
        self.config = config
        self._plain = config.model_copy(update={"diversity": 0.0})
        self.presenter = Presenter(bundle)
        self._weights = _weights(bundle.schema, weights)
        self._is_time = np.asarray([t.kind == "watch_time" for t in bundle.schema.tasks])
        self._vectors = np.asarray(bundle.array("item_vectors"))
        self._capped = _capped_codes(bundle, config.cap)

    def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Return at most `query.num_items` items, best first."""
        check_bundle(self.bundle.id, query, ranked)
        started = time.perf_counter()
        config = self.config if query.plan.is_diverse else self._plain
        rows = ranked.candidates.rows
        values = self.values(ranked)
        vectors = np.take(self._vectors, rows, axis=0)
        capped = np.zeros(len(rows), np.int64) if self._capped is None else self._capped[rows]
        pick = partial(choose, values, vectors, num_items=query.num_items, config=config)
        chosen = pick(capped)
        explanations: Sequence[Explanation] = ()
        departures: tuple[Verdict, ...] = ()
        if query.explain:
            explainer = Explainer(
                ranked,
                values,
                relevance=(1 - config.diversity) * _scaled(values),
                vectors=vectors,
                diversity=config.diversity,
                chosen=chosen,
                item_ids=self.presenter.item_ids(rows[chosen]),
                num_items=query.num_items,
            )
            explanations = explainer.explanations()
            departures = explainer.verdicts(query.asked, uncapped=pick(np.zeros_like(capped)))
        items = self.presenter.items(ranked, chosen, values[chosen], query, explanations)
        elapsed_ms = 1000 * (time.perf_counter() - started)
        report = StageReport("rerank", elapsed_ms, len(rows), len(items))
        return Slate(self.bundle.id, items, (report,), departures)

    def values(self, ranked: Ranked) -> Floats:
        """Return each candidate's value (n,); without predictions its score in retrieval.

        A prediction that is not finite adds nothing, as if the event were certain not to happen.
        """
        if not ranked.tasks:
            return ranked.candidates.scores
        predictions = np.where(np.isfinite(ranked.predictions), ranked.predictions, 0.0)
        scaled = np.where(self._is_time, np.log1p(np.maximum(predictions, 0.0)), predictions)
        return np.asarray(scaled @ self._weights, np.float32)


def choose(
    values: Floats,
    vectors: Floats,
    capped: Rows,
    *,
    num_items: int,
    config: RerankConfig,
) -> Rows:
    """Choose by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998), under a cap.

    Values are scaled to 0..1 over the candidates; likeness is the highest cosine with an item
    that was chosen before. A value of the capped attribute is passed over once it fills
    `max_per_value` places, unless every candidate left is passed over.

    Args:
        values: (n,).
        vectors: (n, dim), unit-norm.
        capped: codes of the capped attribute (n,); 0 (unknown) has no cap.
        num_items: places of the slate.
        config: diversity and cap.

    Returns:
        Places among the candidates, (at most num_items,).
    """
    relevance = (1 - config.diversity) * _scaled(values)
    likeness = np.zeros(len(values), np.float32)
    is_open = np.ones(len(values), np.bool_)
    is_full = np.zeros(len(values), np.bool_)
    chosen: list[int] = []
    for _ in range(min(num_items, len(values))):
        candidates = is_open & ~is_full
        if not candidates.any():
            candidates = is_open
        marginal = np.where(candidates, relevance - config.diversity * likeness, -np.inf)
        best = int(np.argmax(marginal))
        chosen.append(best)
        is_open[best] = False
        if config.diversity:
            likeness = np.maximum(likeness, vectors @ vectors[best])
        if (
            capped[best]
            and np.count_nonzero(capped[chosen] == capped[best]) >= config.max_per_value
        ):
            is_full |= capped == capped[best]
    return np.asarray(chosen, np.int64)


def _scaled(values: Floats) -> Floats:
    lowest, highest = values.min(initial=np.inf), values.max(initial=-np.inf)
    if not highest > lowest:
        return np.ones(len(values), np.float32)
    return np.asarray((values - lowest) / (highest - lowest), np.float32)


def _weights(schema: Schema, weights: Mapping[str, float]) -> Floats:
    chosen = weights or {schema.positive: 1.0}
    return np.asarray([chosen.get(task.name, 0.0) for task in schema.tasks], np.float32)


def _capped_codes(bundle: Bundle, cap: str | None) -> Rows | None:
    """Return the codes of the capped attribute by item row; None without a cap."""
    if cap is None:
        return None
    known = [feature.name for feature in bundle.schema.select("item", "categorical")]
    if cap not in known:
        raise ConfigError(f"serve.rerank.cap: no item attribute {cap!r}; has {', '.join(known)}")
    codes = feature_codes(bundle.schema, "item", cap, bundle.catalogue.encoded)
    return codes.astype(np.int64)
