"""Retrieval's part of the report: rankings of the whole catalogue against the floors."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.examples import Examples
from train.floors import CoOccurrence, Popular, Scorer
from train.rankings import Rankings, chunk_of, rankings
from train.retrieval_metrics import exposure, means
from train.retrieval_queries import Questions
from train.retrieval_slices import slices

RECENT_HALF_LIVES_DAYS = (0.5, 1, 2, 4, 7, 14, 30, 90, 365)
VALIDATION_USERS = 5_000


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
        "retrieval": {
            name: means(answer.metrics()) | exposure(answer.ranked, examples.catalogue.num_items)
            for name, answer in answers.items()
        },
        "slices": slices(answers, examples),
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
