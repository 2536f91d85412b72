"""The synthetic world is reproducible, plausible, and has something to learn."""

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.world import EVENTS, World
from features.worlds.items import Items
from features.worlds.period import DAY_MS, END_MS, START_MS
from features.worlds.policy import Policy
from features.worlds.requests import Requests

WORLD = World(num_users=2_000, num_items=1_000, num_events=200_000, seed=3)
Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    """All events with `ms`, the item's columns and the true preference."""
    events = log_of(WORLD)
    events = events.with_columns(ms=pl.col("timestamp").dt.epoch("ms"))
    ids = [events[name].to_numpy() for name in ("user_id", "item_id", "ms")]
    events = events.with_columns(preference=pl.Series(WORLD.preference(*ids)))
    return events.join(pl.DataFrame(WORLD.items.table()), on="item_id", maintain_order="left")


def log_of(world: World) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(world.events(chunk)) for chunk in range(world.num_chunks)])


def digest(table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()


def users_table(world: World) -> pa.Table:
    return world.users(0).table()


def items_table(world: World) -> pa.Table:
    return world.items.table()


def auc(scores: Array, labels: npt.NDArray[np.bool_]) -> float:
    ranks = pl.Series(scores).rank("average").to_numpy()
    positives = int(labels.sum())
    negatives = len(labels) - positives
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / positives / negatives)


def smoothed_logit(train: pl.DataFrame, test: pl.DataFrame, key: str) -> Array:
    base = float(train["click"].cast(pl.Float64).mean() or 0.0)
    rate = ((pl.col("click").sum() + 20 * base) / (pl.len() + 20)).alias("rate")
    rates = train.group_by(key).agg(rate)
    found = test.select(key).join(rates, on=key, how="left", maintain_order="left")["rate"]
    values = found.fill_null(base).to_numpy()
    return np.asarray(np.log(values / (1 - values)))


def test_the_same_seed_gives_the_same_bytes_in_any_order() -> None:
    world = World(200, 100, 300_000, seed=5)
    again = replace(world)
    assert world.num_chunks > 2
    chunks = list(range(world.num_chunks))
    forwards = [digest(world.events(chunk)) for chunk in chunks]
    backwards = [digest(again.events(chunk)) for chunk in reversed(chunks)]
    assert forwards == backwards[::-1]
    assert digest(world.items.table()) == digest(again.items.table())


def test_another_process_makes_the_same_bytes() -> None:
    world = World(300, 200, 20_000)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        events, users, items = (
            pool.submit(function, *arguments).result()
            for function, arguments in (
                (world.events, (0,)),
                (users_table, (world,)),
                (items_table, (world,)),
            )
        )
    assert digest(events) == digest(world.events(0))
    assert digest(users) == digest(users_table(world))
    assert digest(items) == digest(items_table(world))


def test_another_seed_gives_another_world() -> None:
    world = World(300, 200, 20_000)
    other = replace(world, seed=1)
    assert digest(world.events(0)) != digest(other.events(0))
    assert digest(world.items.table()) != digest(other.items.table())


@given(
    users=st.integers(500, 2_000),
    items=st.integers(100, 2_000),
    per_user=st.integers(40, 80),
    seed=st.integers(0, 99),
)
@settings(max_examples=12, deadline=None)
def test_the_number_of_events_is_met_within_two_percent(
    users: int, items: int, per_user: int, seed: int
) -> None:
    world = World(users, items, users * per_user, seed)
    found = sum(world.events(chunk).num_rows for chunk in range(world.num_chunks))
    assert found == pytest.approx(users * per_user, rel=0.02)


@given(
    users=st.integers(1, 40),
    items=st.integers(1, 40),
    events=st.integers(1, 2_000),
    seed=st.integers(0, 9_999),
)
@settings(max_examples=60, deadline=None)
def test_worlds_of_any_size_are_sound(users: int, items: int, events: int, seed: int) -> None:
    world = World(users, items, events, seed)
    log = log_of(world).join(pl.DataFrame(world.items.table()), on="item_id")
    assert log["user_id"].is_between(1, users).all()
    assert (log["published_at"] <= log["timestamp"]).all()
    assert log["propensity"].is_between(0, 1, closed="right").all()
    assert log["watch_time_s"].is_between(0, log["duration_s"]).all()
    assert not log.select("request_id", "item_id").is_duplicated().any()
    assert not log.select("request_id", "position").is_duplicated().any()
    assert (log["click"] | ~log["like"]).all()
    assert len(world.items.table()) == items
    assert sum(len(world.users(chunk)) for chunk in range(world.num_chunks)) == users


def test_nothing_hidden_is_in_a_table() -> None:
    known = {"item_id", "title", "topic", "tags", "creator", "duration_s", "published_at"}
    assert set(WORLD.items.table().column_names) == known
    assert set(WORLD.users(0).table().column_names) == {"user_id", "country", "age_band", "signup"}
    assert WORLD.events(0).schema == EVENTS


def test_events_lie_in_the_period_and_after_the_signup(log: pl.DataFrame) -> None:
    assert log["ms"].is_between(START_MS, END_MS, closed="left").all()
    signup = np.concatenate(
        [WORLD.users(chunk).activity.signup_ms for chunk in range(WORLD.num_chunks)]
    )
    assert (log["ms"].to_numpy() >= signup[log["user_id"].to_numpy() - 1]).all()


def test_some_test_users_and_items_are_new(log: pl.DataFrame) -> None:
    cut = END_MS - 2 * DAY_MS
    train, test = log.filter(pl.col("ms") < cut), log.filter(pl.col("ms") >= cut)
    for key, least in (("user_id", 0.005), ("item_id", 0.02)):
        share = 1 - test[key].is_in(train[key].unique().implode()).mean()
        assert share > least


def test_clicks_are_common_and_likes_are_rare(log: pl.DataFrame) -> None:
    clicks, likes = log["click"].sum() / log.height, log["like"].sum() / log.height
    assert 0.1 < clicks < 0.25
    assert 0.01 < likes < clicks / 2


def test_the_true_preference_explains_clicks_and_more_so_likes(log: pl.DataFrame) -> None:
    preference = log["preference"].to_numpy()
    assert 0.75 < auc(preference, log["click"].to_numpy()) < 0.85
    assert auc(preference, log["like"].to_numpy()) > 0.8


def test_first_positions_in_the_feed_are_clicked_as_often_as_preferred(log: pl.DataFrame) -> None:
    first = log.filter(
        (pl.col("position") == 1) & (pl.col("surface") == "feed") & (pl.col("device") == "phone")
    )
    clicks = first["click"].sum() / first.height
    assert clicks == pytest.approx(float(first["preference"].sum()) / first.height, rel=0.1)


def test_later_positions_are_clicked_less(log: pl.DataFrame) -> None:
    rates = log.group_by("position").agg(pl.col("click").mean()).sort("position")["click"]
    assert rates[0] > 1.4 * rates[5] > 1.4 * rates[11]


def test_surfaces_differ(log: pl.DataFrame) -> None:
    rates = dict(log.group_by("surface").agg(pl.col("click").mean()).iter_rows())
    assert rates["search"] > rates["related"] > rates["feed"]


def test_watch_time_saturates_at_the_duration(log: pl.DataFrame) -> None:
    clicked = log.filter("click")
    to_the_end = (clicked["watch_time_s"] == clicked["duration_s"]).sum() / clicked.height
    assert 0.1 < to_the_end < 0.7
    assert log.filter(~pl.col("click"))["watch_time_s"].quantile(0.9) < 5


def test_popularity_is_skewed_and_decays_with_age(log: pl.DataFrame) -> None:
    counts = log["item_id"].value_counts(sort=True)["count"]
    assert counts.head(100).sum() > 0.35 * log.height
    born = log.filter(pl.col("published_at").dt.epoch("ms").is_between(START_MS, START_MS + DAY_MS))
    age = (born["ms"] - born["published_at"].dt.epoch("ms")) // DAY_MS
    assert (age < 6).sum() > 1.5 * age.is_between(20, 25).sum()


def test_the_preference_of_strangers_is_refused() -> None:
    known = np.ones(1, np.int64)
    with pytest.raises(ValueError, match="user_id: 0 to 0"):
        WORLD.preference(np.zeros(1, np.int64), known, known)
    with pytest.raises(ValueError, match="item_id: 1001 to 1001"):
        WORLD.preference(known, np.full(1, 1_001), known)


def test_tastes_drift() -> None:
    users = WORLD.users(0)
    rows = np.arange(len(users))
    tastes = [
        users.tastes(rows, np.full(len(users), START_MS + day * DAY_MS)).astype(np.float64)
        for day in (0, 1, 20)
    ]
    unit = [taste / np.linalg.norm(taste, axis=1, keepdims=True) for taste in tastes]
    assert np.median((unit[0] * unit[1]).sum(axis=1)) > 0.99
    assert np.median((unit[0] * unit[2]).sum(axis=1)) < 0.9


def test_propensities_are_the_frequencies_of_draws() -> None:
    world = World(50, 60, 5_000, seed=2)
    users, repeats = world.users(0), 100_000
    requests = Requests(
        user=np.full(repeats, 7),
        session=np.zeros(repeats, np.int64),
        start_ms=np.full(repeats, START_MS + 9 * DAY_MS),
        surface=np.zeros(repeats, np.int64),
        device=np.zeros(repeats, np.int64),
        size=np.ones(repeats, np.int64),
    )
    slates = world.policy.slates(np.random.default_rng(0), users, requests)
    items = np.arange(world.num_items)
    published = world.items.published_ms <= START_MS + 9 * DAY_MS
    expected = world.policy.propensities(users, requests, np.zeros_like(items), items)
    found = np.bincount(slates[:, 0], minlength=world.num_items) / repeats
    assert expected[published].sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found, np.where(published, expected, 0), atol=0.004)


def test_logged_propensities_are_those_of_the_policy() -> None:
    world = World(50, 60, 5_000, seed=2)
    assert isinstance(world.policy, Policy)
    assert isinstance(world.items, Items)
    shares = log_of(world).group_by("surface").agg(pl.col("propensity").mean())
    assert shares["propensity"].is_between(1 / 60, 0.3).all()


def test_a_history_tells_more_than_rates_and_the_truth_tells_most(log: pl.DataFrame) -> None:
    cut = END_MS - 2 * DAY_MS
    train, test = log.filter(pl.col("ms") < cut), log.filter(pl.col("ms") >= cut)
    labels = test["click"].to_numpy()
    keys = ("user_id", "item_id", "creator", "topic", "surface")
    floor = np.sum([smoothed_logit(train, test, key) for key in keys], axis=0)
    profiles = profiles_of(train)
    vectors = WORLD.items.vector[test["item_id"].to_numpy() - 1]
    history = np.asarray([profiles.get(user, np.zeros(16)) for user in test["user_id"]])
    with_history = auc(floor + 4 * (history * vectors).sum(axis=1), labels)
    assert with_history > auc(floor, labels) + 0.02
    assert auc(test["preference"].to_numpy(), labels) > with_history + 0.05


def test_a_history_retrieves_better_than_recent_popularity(log: pl.DataFrame) -> None:
    cut = END_MS - 2 * DAY_MS
    train, test = (
        log.filter(pl.col("ms") < cut),
        log.filter((pl.col("ms") >= cut) & pl.col("click")),
    )
    recent = train.filter(pl.col("click") & (pl.col("ms") >= cut - 4 * DAY_MS))
    popular = np.log(np.bincount(recent["item_id"].to_numpy() - 1, minlength=1_000) + 0.3)
    profiles = profiles_of(train)
    seen = dict(train.filter("click").group_by("user_id").agg("item_id").iter_rows())
    gains = []
    for user, items in test.group_by("user_id").agg(pl.col("item_id").unique()).iter_rows():
        targets = np.setdiff1d(items, seen.get(user, []))
        if len(targets) and user in profiles:
            taste = 6 * (WORLD.items.vector @ profiles[user])
            hidden = np.asarray(seen[user]) - 1
            recalls = [recall(popular + extra, hidden, targets - 1) for extra in (0.0, taste)]
            gains.append(recalls)
    by_popularity, by_history = np.mean(gains, axis=0)
    assert by_history > 1.2 * by_popularity


def profiles_of(train: pl.DataFrame) -> dict[int, Array]:
    """Mean hidden vector of each user's 30 last clicked items."""
    clicked = train.filter("click").sort("ms").group_by("user_id").agg(pl.col("item_id").tail(30))
    return {
        user: WORLD.items.vector[np.asarray(items) - 1].mean(axis=0).astype(np.float64)
        for user, items in clicked.iter_rows()
    }


def recall(scores: Array, hidden: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]) -> float:
    scores = scores.copy()
    scores[hidden] = -np.inf
    top = np.argsort(-scores, kind="stable")[:50]
    return len(np.intersect1d(top, targets)) / len(targets)
