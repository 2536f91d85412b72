"""MovieLens in all its layouts: latest/25m/32m CSV, 1m `.dat`, 100k `u.*`, and order-only 1m."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.errors import InputError
from features.config import DatasetConfig
from features.datasets.adapter import Block, Source
from features.datasets.files import dataset_folder, identity_of, only_file
from features.datasets.text import MALFORMED, TextFile, TextFormat

LIKED = 4.0
LOVED = 5.0
NO_GENRES = "(no genres listed)"
GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
RATED = pa.schema(
    [
        ("user_id", pa.int64()),
        ("item_id", pa.int64()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("rating", pa.float64()),
        ("liked", pa.bool_()),
        ("loved", pa.bool_()),
    ]
)
WATCHED = pa.schema(
    [
        ("user_id", pa.int64()),
        ("item_id", pa.int64()),
        ("timestamp", pa.int64()),
        ("watched", pa.bool_()),
    ]
)
RATING_TYPES = {
    "userId": pa.int64(),
    "movieId": pa.int64(),
    "rating": pa.float64(),
    "timestamp": pa.int64(),
}
MOVIE_TYPES = {"movieId": pa.int64(), "title": pa.string(), "genres": pa.string()}
USER_TYPES = {
    "user_id": pa.int64(),
    "gender": pa.string(),
    "age": pa.string(),
    "occupation": pa.string(),
    "zip": pa.string(),
}


@dataclass(frozen=True)
class Layout:
    """One release's files; the first one tells the layout."""

    events: str
    movies: str
    movie_format: TextFormat
    rating_format: TextFormat | None = None
    users: str | None = None
    user_format: TextFormat | None = None


def _dat(types: dict[str, pa.DataType], delimiter: str, names: Sequence[str]) -> TextFormat:
    return TextFormat(types, delimiter=delimiter, encoding="latin-1", names=names)


DAT_MOVIES = _dat(MOVIE_TYPES, "::", list(MOVIE_TYPES))
DAT_USERS = _dat(USER_TYPES, "::", list(USER_TYPES))
U_ITEM_TYPES = {"movieId": pa.int64(), "title": pa.string(), **dict.fromkeys(GENRES, pa.int8())}
U_ITEM_NAMES = ("movieId", "title", "released", "video_released", "url", *GENRES)
U_USER_NAMES = ("user_id", "age", "gender", "occupation", "zip")
LAYOUTS = (
    Layout("ratings.csv", "movies.csv", TextFormat(MOVIE_TYPES), TextFormat(RATING_TYPES)),
    Layout(
        "ratings.dat",
        "movies.dat",
        DAT_MOVIES,
        _dat(RATING_TYPES, "::", list(RATING_TYPES)),
        "users.dat",
        DAT_USERS,
    ),
    Layout(
        "u.data",
        "u.item",
        _dat(U_ITEM_TYPES, "|", U_ITEM_NAMES),
        _dat(RATING_TYPES, "\t", list(RATING_TYPES)),
        "u.user",
        _dat(USER_TYPES, "|", U_USER_NAMES),
    ),
    Layout("interactions.parquet", "movies.dat", DAT_MOVIES, None, "users.dat", DAT_USERS),
)


class MovieLens:
    """Reads the layout whose events file is there.

    A rating gives `rating`, `liked` (4 and more) and `loved` (5); order-only events give `watched`.

    Raises:
        InputError: no layout's events file is there, or a file of the layout is missing.
    """

    def __init__(self, config: DatasetConfig) -> None:
        folder = dataset_folder(config)
        self.layout = _layout_of(folder)
        self.events_path = folder / self.layout.events
        self.movies_path = only_file(folder, self.layout.movies)
        users = self.layout.users
        self.users_path = only_file(folder, users) if users else None

    @property
    def has_time(self) -> bool:
        """False for `interactions.parquet`, which has each user's order only."""
        return self.layout.rating_format is not None

    @property
    def schema(self) -> pa.Schema:
        """The columns of the events."""
        return RATED if self.has_time else WATCHED

    def sources(self) -> Sequence[Source]:
        """Return byte ranges of the ratings, or the one file of interactions."""
        if self.layout.rating_format is None:
            return [Interactions(self.events_path)]
        file = TextFile(self.events_path, self.layout.rating_format)
        return [Ratings(part) for part in file.ranges()]

    def items(self) -> pa.Table | None:
        """Return the movies; the year of a title is an attribute, not a publishing date."""
        movies = TextFile(self.movies_path, self.layout.movie_format).read()
        year = pc.struct_field(pc.extract_regex(movies["title"], r"\((?P<y>\d{4})\)\s*$"), "y")
        genres = _listed(movies["genres"]) if "genres" in movies.column_names else _flagged(movies)
        columns = {"item_id": movies["movieId"], "title": movies["title"], "genres": genres}
        return pa.table(columns | {"year": year.cast(pa.int64())})

    def users(self) -> pa.Table | None:
        """Return gender, age, occupation and the first digit of the zip code, where known."""
        if self.users_path is None or self.layout.user_format is None:
            return None
        users = TextFile(self.users_path, self.layout.user_format).read()
        columns = {name: users[name] for name in ("user_id", "gender", "age", "occupation")}
        return pa.table(columns | {"region": pc.utf8_slice_codeunits(users["zip"], 0, 1)})

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """Return name, size and modification time of every file read."""
        files = (self.events_path, self.movies_path, self.users_path)
        return identity_of(file for file in files if file)


@dataclass(frozen=True)
class Ratings:
    """A byte range of the ratings."""

    lines: TextFile

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield ratings as events."""
        for ratings, malformed in self.lines.tables(max_rows):
            yield Block(_rated(ratings), {MALFORMED: malformed} if malformed else {})


@dataclass(frozen=True)
class Interactions:
    """A Parquet file of users, movies and the movies' positions in the users' order."""

    path: Path

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield interactions as events whose timestamp is the position."""
        names = ("user_id", "movie_id", "pos")
        try:
            file = pq.ParquetFile(self.path)
        except pa.ArrowInvalid as error:
            raise InputError(f"{self.path}: {error}") from None
        missing = [name for name in names if name not in file.schema_arrow.names]
        if missing:
            raise InputError(f"{self.path}: missing column {missing[0]!r}")
        for batch in file.iter_batches(max_rows, columns=list(names)):
            ids = [batch[name].cast(pa.int64()) for name in names]
            watched = pa.repeat(pa.scalar(value=True), batch.num_rows)
            yield Block(pa.Table.from_arrays([*ids, watched], schema=WATCHED), {})


def _layout_of(folder: Path) -> Layout:
    for layout in LAYOUTS:
        if (folder / layout.events).is_file():
            return layout
    known = ", ".join(layout.events for layout in LAYOUTS)
    raise InputError(f"{folder}: missing file: none of {known}")


def _rated(ratings: pa.Table) -> pa.Table:
    milliseconds = pc.multiply(ratings["timestamp"], 1000)
    columns = {
        "user_id": ratings["userId"],
        "item_id": ratings["movieId"],
        "timestamp": milliseconds.cast(RATED.field("timestamp").type),
        "rating": ratings["rating"],
        "liked": pc.greater_equal(ratings["rating"], LIKED),
        "loved": pc.greater_equal(ratings["rating"], LOVED),
    }
    return pa.table(columns, schema=RATED)


def _listed(genres: pa.ChunkedArray) -> pa.ChunkedArray:
    is_none = pc.equal(genres, NO_GENRES)
    return pc.split_pattern(pc.if_else(is_none, pa.scalar(None, pa.string()), genres), "|")


def _flagged(movies: pa.Table) -> pa.Array:
    flags = [movies[genre].to_pylist() for genre in GENRES]
    rows = zip(*flags, strict=True)
    lists = [[g for g, is_set in zip(GENRES, row, strict=True) if is_set] for row in rows]
    return pa.array(lists, pa.list_(pa.string()))
