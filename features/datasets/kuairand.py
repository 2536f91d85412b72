"""KuaiRand (Gao et al., CIKM 2022; Pure, 1K and 27K) in its official layout."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from features.config import DatasetConfig
from features.datasets.adapter import Block, Source
from features.datasets.files import dataset_folder, identity_of, only_file, required_files
from features.datasets.text import MALFORMED, TextFile, TextFormat

FLAGS = ("is_click", "is_like", "is_follow", "is_comment", "is_forward", "is_hate", "long_view")
LOG = TextFormat(
    types={
        "user_id": pa.int64(),
        "video_id": pa.int64(),
        "time_ms": pa.int64(),
        **dict.fromkeys(FLAGS, pa.int8()),
        "play_time_ms": pa.float64(),
        "tab": pa.string(),
    }
)
EVENTS = pa.schema(
    [
        ("user_id", pa.int64()),
        ("item_id", pa.int64()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        *((flag, pa.bool_()) for flag in FLAGS),
        ("watch_time_s", pa.float64()),
        ("tab", pa.string()),
    ]
)
VIDEO_CATEGORIES = (
    "author_id",
    "music_id",
    "music_type",
    "video_type",
    "upload_type",
    "visible_status",
)
VIDEO_SIZES = ("server_width", "server_height")
VIDEOS = TextFormat(
    types={
        "video_id": pa.int64(),
        **dict.fromkeys((*VIDEO_CATEGORIES, "tag", "upload_dt"), pa.string()),
        **dict.fromkeys(("video_duration", *VIDEO_SIZES), pa.float64()),
    }
)
USER_CATEGORIES = (
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{i}" for i in range(18)),
)
USER_COUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
USERS = TextFormat(
    types={
        "user_id": pa.int64(),
        **dict.fromkeys(USER_CATEGORIES, pa.string()),
        **dict.fromkeys(USER_COUNTS, pa.float64()),
    }
)
UTC_OFFSET_MS = 8 * 3_600_000


class KuaiRand:
    """Reads `log_standard*`, `log_random*`, `video_features_basic_*` and `user_features_*`.

    Of the log only what was known before the impression (`tab`) or is a label is kept: durations
    belong to the video, stay times are outcomes, `date` and `hourmin` are coarser than `time_ms`.

    Raises:
        InputError: a file is missing, or the folder holds several releases.
    """

    has_time = True
    schema = EVENTS

    def __init__(self, config: DatasetConfig) -> None:
        folder = dataset_folder(config)
        if (folder / "data").is_dir():
            folder = folder / "data"
        standard = required_files(folder, "log_standard*.csv")
        self.logs = [*standard, *sorted(folder.glob("log_random*.csv"))]
        self.videos = only_file(folder, "video_features_basic_*.csv")
        self.profiles = only_file(folder, "user_features_*.csv")

    def sources(self) -> Sequence[Source]:
        """Return byte ranges of the logs."""
        ranges = [part for log in self.logs for part in TextFile(log, LOG).ranges()]
        return [KuaiRandLog(part) for part in ranges]

    def items(self) -> pa.Table | None:
        """Return the videos; an unknown duration (0 or absent) is null."""
        videos = TextFile(self.videos, VIDEOS).read()
        duration = videos["video_duration"]
        known = pc.if_else(pc.greater(duration, 0), duration, pa.scalar(None, pa.float64()))
        columns = {"item_id": videos["video_id"]}
        columns |= {name: _category(videos[name]) for name in VIDEO_CATEGORIES}
        columns["tag"] = pc.split_pattern(videos["tag"], ",")
        columns["duration_s"] = pc.divide(known, 1000.0)
        columns |= {name: videos[name] for name in VIDEO_SIZES}
        columns["published_at"] = _local_midnight(videos["upload_dt"])
        return pa.table(columns)

    def users(self) -> pa.Table | None:
        """Return the users: ranges, degrees and encoded columns are categories."""
        users = TextFile(self.profiles, USERS).read()
        columns = {"user_id": users["user_id"]}
        columns |= {name: _category(users[name]) for name in USER_CATEGORIES}
        columns |= {name: users[name] for name in USER_COUNTS}
        return pa.table(columns)

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """Return name, size and modification time of every file read."""
        return identity_of([*self.logs, self.videos, self.profiles])


@dataclass(frozen=True)
class KuaiRandLog:
    """A byte range of one log."""

    lines: TextFile

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield the log's rows as events."""
        for log, malformed in self.lines.tables(max_rows):
            yield Block(_events(log), {MALFORMED: malformed} if malformed else {})


def _events(log: pa.Table) -> pa.Table:
    columns = {
        "user_id": log["user_id"],
        "item_id": log["video_id"],
        "timestamp": log["time_ms"].cast(EVENTS.field("timestamp").type),
        **{flag: pc.not_equal(log[flag], 0) for flag in FLAGS},
        "watch_time_s": pc.divide(log["play_time_ms"], 1000.0),
        "tab": log["tab"],
    }
    return pa.table(columns, schema=EVENTS)


def _category(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write 9.0 and 9 alike: some columns became floats where a value is absent."""
    return pc.replace_substring_regex(values, r"\.0$", "")


def _local_midnight(dates: pa.ChunkedArray) -> pa.ChunkedArray:
    midnight_utc = pc.strptime(dates, format="%Y-%m-%d", unit="ms", error_is_null=True)
    instants = pc.subtract(midnight_utc.cast(pa.int64()), UTC_OFFSET_MS)
    return instants.cast(pa.timestamp("ms", tz="UTC"))
