"""Every MovieLens layout becomes canonical tables."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.errors import InputError
from features.config import DatasetConfig
from features.datasets.movielens import GENRES, MovieLens

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
SECOND = "964982703"
AT = datetime(2000, 7, 30, 18, 45, 3, tzinfo=UTC)


def opened(folder: Path) -> MovieLens:
    return MovieLens(DatasetConfig(format="movielens", path=str(folder)))


def events_of(adapter: MovieLens) -> pa.Table:
    blocks = [block for source in adapter.sources() for block in source.blocks(100_000)]
    return pa.concat_tables([block.events for block in blocks])


def latest(folder: Path) -> None:
    (folder / "ratings.csv").write_text(
        f"userId,movieId,rating,timestamp\n1,3,4.0,{SECOND}\n1,5,3.5,{SECOND}\n2,3,5.0,{SECOND}\n"
    )
    (folder / "movies.csv").write_text(
        "movieId,title,genres\n"
        '3,"American President, The (1995)",Comedy|Drama|Romance\n'
        "5,Untitled,(no genres listed)\n"
    )


def one_million(folder: Path) -> None:
    lines = f"1::3::4::{SECOND}\n1::5::3::{SECOND}\n2::3::5::{SECOND}\n"
    (folder / "ratings.dat").write_text(lines)
    movies = "3::Amélie: a film (2001)::Comedy|Romance\n5::Untitled::Drama\n"
    (folder / "movies.dat").write_bytes(movies.encode("latin-1"))
    (folder / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")


def hundred_thousand(folder: Path) -> None:
    lines = f"1\t3\t4\t{SECOND}\n1\t5\t3\t{SECOND}\n2\t3\t5\t{SECOND}\n"
    (folder / "u.data").write_text(lines)
    flags = ["0"] * len(GENRES)
    comedy = flags.copy()
    comedy[GENRES.index("Comedy")] = comedy[GENRES.index("War")] = "1"
    rows = [
        ["3", 'M*A*S*H "uncut" (1970)', "01-Jan-1970", "", "http://x", *comedy],
        ["5", "unknown", "", "", "", *flags],
    ]
    (folder / "u.item").write_text("".join("|".join(row) + "\n" for row in rows))
    (folder / "u.user").write_text("1|24|M|technician|85711\n2|53|F|other|94043\n")


@pytest.mark.parametrize("layout", [latest, one_million, hundred_thousand])
def test_ratings_of_every_layout_become_events(layout: object, tmp_path: Path) -> None:
    assert callable(layout)
    layout(tmp_path)
    adapter = opened(tmp_path)
    events = events_of(adapter)
    assert adapter.has_time
    assert events.schema == adapter.schema
    assert events["user_id"].to_pylist() == [1, 1, 2]
    assert events["item_id"].to_pylist() == [3, 5, 3]
    assert events["timestamp"].to_pylist() == [AT] * 3
    assert events["liked"].to_pylist() == [True, False, True]
    assert events["loved"].to_pylist() == [False, False, True]


def test_a_title_with_a_comma_keeps_it_and_gives_its_year(tmp_path: Path) -> None:
    latest(tmp_path)
    items = opened(tmp_path).items()
    assert items is not None
    first, second = items.to_pylist()
    assert first == {
        "item_id": 3,
        "title": "American President, The (1995)",
        "genres": ["Comedy", "Drama", "Romance"],
        "year": 1995,
    }
    assert (second["genres"], second["year"]) == (None, None)


def test_latest_knows_nothing_of_its_users(tmp_path: Path) -> None:
    latest(tmp_path)
    assert opened(tmp_path).users() is None


def test_1m_movies_are_latin_1_and_users_have_categories(tmp_path: Path) -> None:
    one_million(tmp_path)
    adapter = opened(tmp_path)
    items, users = adapter.items(), adapter.users()
    assert items is not None
    assert users is not None
    assert items["title"].to_pylist() == ["Amélie: a film (2001)", "Untitled"]
    assert users.to_pylist()[0] == {
        "user_id": 1,
        "gender": "F",
        "age": "1",
        "occupation": "10",
        "region": "4",
    }


def test_100k_genre_flags_become_lists(tmp_path: Path) -> None:
    hundred_thousand(tmp_path)
    adapter = opened(tmp_path)
    items, users = adapter.items(), adapter.users()
    assert items is not None
    assert users is not None
    assert items["genres"].to_pylist() == [["Comedy", "War"], []]
    assert items["title"].to_pylist()[0] == 'M*A*S*H "uncut" (1970)'
    assert users["occupation"].to_pylist() == ["technician", "other"]


def test_interactions_have_an_order_and_no_time(tmp_path: Path) -> None:
    one_million(tmp_path)
    (tmp_path / "ratings.dat").unlink()
    table = pa.table({"user_id": [1, 1], "movie_id": [5, 3], "pos": [0, 1]})
    pq.write_table(table, tmp_path / "interactions.parquet")
    adapter = opened(tmp_path)
    events = events_of(adapter)
    assert not adapter.has_time
    assert events["timestamp"].to_pylist() == [0, 1]
    assert events["watched"].to_pylist() == [True, True]


def test_a_folder_without_events_says_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing file: none of ratings\.csv, ratings\.dat"):
        opened(tmp_path)


def test_a_layout_without_its_movies_names_them(tmp_path: Path) -> None:
    latest(tmp_path)
    (tmp_path / "movies.csv").unlink()
    with pytest.raises(InputError, match=r"movies\.csv: missing file"):
        opened(tmp_path)


def test_interactions_without_positions_are_refused(tmp_path: Path) -> None:
    one_million(tmp_path)
    (tmp_path / "ratings.dat").unlink()
    pq.write_table(pa.table({"user_id": [1], "movie_id": [5]}), tmp_path / "interactions.parquet")
    with pytest.raises(InputError, match="missing column 'pos'"):
        events_of(opened(tmp_path))


@pytest.mark.skipif(not SHARED.exists(), reason="the real MovieLens data is not here")
def test_the_real_releases_are_read_whole() -> None:
    small, order_only = opened(SHARED / "ml-latest-small"), opened(SHARED / "ml-1m")
    assert events_of(small).num_rows == 100_836
    assert events_of(order_only).num_rows == 1_000_209
    items, users = order_only.items(), order_only.users()
    assert items is not None
    assert users is not None
    assert (items.num_rows, users.num_rows) == (3_883, 6_040)
    assert items["year"].null_count == 0
