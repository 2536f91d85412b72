"""Retrieval's part of the report: rankings of the whole catalogue against the floors."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.examples import Examples
from train.floors import CoOccurrence, Popular, Scorer
from train.retrieval_metrics import NUM_RANKED, PerUser, means, retrieval_metrics
from train.retrieval_queries import Queries, Questions

CHUNK_QUERIES, CHUNK_SCORES = 256, 1 << 24
RECENT_HALF_LIVES_DAYS = (0.5, 1, 2, 4, 7, 14, 30, 90, 365)
VALIDATION_USERS = 5_000


@dataclass(frozen=True)
class Rankings:
    """What one scorer answered: `ranked` (n, NUM_RANKED) rows and the targets beside them."""

    users: npt.NDArray[np.int32]
    ranked: npt.NDArray[np.int64]
    target_query: npt.NDArray[np.int64]
    target_items: npt.NDArray[np.int32]

    def metrics(self, is_wanted: npt.NDArray[np.bool_] | None = None) -> PerUser:
        """Compute the metrics, where given on some of the targets alone."""
        keep = slice(None) if is_wanted is None else is_wanted
        return retrieval_metrics(self.ranked, self.target_query[keep], self.target_items[keep])


def chunk_of(examples: Examples) -> int:
    """Return how many queries are scored at a time, so that their scores stay in memory."""
    return max(1, min(CHUNK_QUERIES, CHUNK_SCORES // (examples.catalogue.num_items + 1)))


def rankings(scorer: Scorer, chunks: Iterable[Queries], *, exclude_seen: bool) -> Rankings:
    """Rank the whole catalogue for every query, without what the user had where excluded."""
    users, ranked, target_query, target_items = [], [], [], []
    num_queries = 0
    for queries in chunks:
        users.append(queries.users)
        ranked.append(_top(scorer.scores(queries), queries, exclude_seen=exclude_seen))
        target_query.append(queries.target_query + num_queries)
        target_items.append(queries.target_items)
        num_queries += len(queries)
    if not users:
        nothing = np.zeros(0, np.int32)
        return Rankings(
            nothing, np.zeros((0, NUM_RANKED), np.int64), np.zeros(0, np.int64), nothing
        )
    return Rankings(
        np.concatenate(users),
        np.concatenate(ranked),
        np.concatenate(target_query),
        np.concatenate(target_items),
    )


def retrieval_report(
    two_tower: Scorer, examples: Examples, *, exclude_seen: bool
) -> tuple[dict[str, Any], Rankings]:
    """Return the report's "retrieval" and "slices", and the two-tower rankings behind them."""
    questions = Questions(examples, "test", exclude_seen=exclude_seen)
    chunk = chunk_of(examples)
    scorers = {"two_tower": two_tower, **floors(examples, exclude_seen=exclude_seen)}
    answers = {
        name: rankings(scorer, questions.chunks(chunk), exclude_seen=exclude_seen)
        for name, scorer in scorers.items()
    }
    report = {
        "retrieval": {name: means(answer.metrics()) for name, answer in answers.items()},
        "slices": _slices(answers, examples),
    }
    return report, answers["two_tower"]


def floors(examples: Examples, *, exclude_seen: bool) -> dict[str, Scorer]:
    """Build the floors; popularity by recency only where the data has time."""
    scorers: dict[str, Scorer] = {"popular": Popular(examples, "validation")}
    if examples.schema.has_time:
        days = _best_half_life(examples, exclude_seen=exclude_seen)
        scorers["popular_recent"] = Popular(examples, "test", half_life_days=days)
    scorers["co_occurrence"] = CoOccurrence(examples)
    return scorers


def write_predictions(path: Path, answers: Rankings, examples: Examples) -> None:
    """Write user_id, targets and ranked in the data's own ids."""
    items = examples.catalogue.table["item_id"]
    order = np.argsort(answers.target_query, kind="stable")
    num_targets = np.bincount(answers.target_query, minlength=len(answers.users))
    table = pl.DataFrame(
        {
            "user_id": examples.user_ids.gather(answers.users - 1),
            "targets": _lists(items, answers.target_items[order], num_targets),
            "ranked": _lists(
                items, answers.ranked[answers.ranked > 0], (answers.ranked > 0).sum(axis=1)
            ),
        }
    )
    table.write_parquet(path)


def _top(
    scores: npt.NDArray[np.float32], queries: Queries, *, exclude_seen: bool
) -> npt.NDArray[np.int64]:
    """Return the best rows (n, NUM_RANKED); 0 where the catalogue has no more."""
    scores[:, 0] = -np.inf
    if exclude_seen:
        scores[queries.known_query, queries.known_items] = -np.inf
    width = min(NUM_RANKED, scores.shape[1])
    best = np.argpartition(-scores, width - 1, axis=1)[:, :width]
    values = np.take_along_axis(scores, best, axis=1)
    order = np.lexsort((best, -values), axis=1)
    best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
    top = np.zeros((len(scores), NUM_RANKED), np.int64)
    top[:, :width] = np.where(np.isneginf(values), 0, best)
    return top


def _slices(answers: dict[str, Rankings], examples: Examples) -> dict[str, Any]:
    slices: dict[str, Any] = {}
    for name in ("new_users", "new_items"):
        masks = {key: _is_new(name, answer, examples) for key, answer in answers.items()}
        figures = {key: answers[key].metrics(mask) for key, mask in masks.items()}
        asked = answers["two_tower"].target_query[masks["two_tower"]]
        slices[name] = {
            "retrieval": {key: means(metrics) for key, metrics in figures.items()},
            "users": len(np.unique(asked)),
            "targets": len(asked),
        }
    return slices


def _is_new(name: str, answer: Rankings, examples: Examples) -> npt.NDArray[np.bool_]:
    """Tell the targets of users, or the items, that the training split has no impression of."""
    if name == "new_users":
        counts = examples.user_train_events[answer.users[answer.target_query]]
    else:
        counts = examples.catalogue.train_events[answer.target_items]
    return np.asarray(counts == 0)


def _best_half_life(examples: Examples, *, exclude_seen: bool) -> float:
    """Choose the half-life on the validation split: a floor that is weak proves nothing."""
    questions = Questions(examples, "validation", exclude_seen=exclude_seen)
    figures = {}
    for days in RECENT_HALF_LIVES_DAYS:
        scorer = Popular(examples, "validation", half_life_days=days)
        chunks = questions.chunks(chunk_of(examples), VALIDATION_USERS)
        answer = rankings(scorer, chunks, exclude_seen=exclude_seen)
        figures[days] = means(answer.metrics())["recall@100"] or 0.0
    return max(figures, key=lambda days: figures[days])


def _lists(
    ids: pl.Series, rows: npt.NDArray[np.integer[Any]], lengths: npt.NDArray[np.int64]
) -> pl.Series:
    """Turn consecutive rows into one list of ids per length."""
    flat = pl.DataFrame(
        {"list": np.repeat(np.arange(len(lengths)), lengths), "id": ids.gather(rows - 1)}
    )
    grouped = flat.group_by("list", maintain_order=True).agg("id")
    every = pl.DataFrame({"list": np.arange(len(lengths))})
    joined = every.join(grouped, on="list", how="left", maintain_order="left")
    return joined["id"].fill_null([])
