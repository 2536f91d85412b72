"""KuaiRand's official layout becomes canonical tables."""

import pickle
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.errors import InputError
from features.config import DatasetConfig
from features.datasets.kuairand import USER_CATEGORIES, USER_COUNTS, KuaiRand

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "kuairand-pure"
LOG_HEADER = (
    '"user_id","video_id","date","hourmin","time_ms","is_click","is_like","is_follow",'
    '"is_comment","is_forward","is_hate","long_view","play_time_ms","duration_ms",'
    '"profile_stay_time","comment_stay_time","is_profile_enter","is_rand","tab"\n'
)
LOG = LOG_HEADER + (
    "7,10,20220425,0,1650812741436,1,0,0,0,0,0,1,61802,49866,0,0,0,0,1\n"
    "8,11,20220425,0,1650812741437,0,1,0,0,0,1,0,0,0,0,0,0,0,4\n"
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag\n"
    '10,90,NORMAL,2022-04-10,Web,0.0,87433.0,720.0,1280.0,55,9.0,"12,65"\n'
    "11,91,AD,,Web,1.0,0.0,,,,,\n"
)


def user_features() -> str:
    names = ["user_id", *USER_CATEGORIES, *USER_COUNTS]
    values = ["7", *["1.0"] * len(USER_CATEGORIES), *["250"] * len(USER_COUNTS)]
    return ",".join(names) + "\n" + ",".join(values) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    (data / "log_standard_4_08_to_4_21_1k.csv").write_text(LOG)
    (data / "video_features_basic_1k.csv").write_text(VIDEOS)
    (data / "user_features_1k.csv").write_text(user_features())
    return tmp_path


def opened(folder: Path) -> KuaiRand:
    return KuaiRand(DatasetConfig(format="kuairand", path=str(folder)))


def events_of(adapter: KuaiRand) -> tuple[pa.Table, int]:
    blocks = [block for source in adapter.sources() for block in source.blocks(1_000)]
    rejected = sum(sum(block.rejected.values()) for block in blocks)
    return pa.concat_tables([block.events for block in blocks]), rejected


def test_the_log_becomes_events_with_flags_watch_time_and_tab(folder: Path) -> None:
    events, _ = events_of(opened(folder))
    first, second = events.to_pylist()
    assert (first["user_id"], first["item_id"], first["tab"]) == (7, 10, "1")
    assert first["timestamp"] == datetime(2022, 4, 24, 15, 5, 41, 436_000, tzinfo=UTC)
    assert first["watch_time_s"] == pytest.approx(61.802)
    assert [first["is_click"], first["long_view"], second["is_like"]] == [True, True, True]
    assert [first["is_like"], second["is_hate"]] == [False, True]


def test_outcomes_and_coarse_times_are_no_columns(folder: Path) -> None:
    names = set(opened(folder).schema.names)
    assert not names & {"play_time_ms", "duration_ms", "date", "hourmin", "profile_stay_time"}


def test_videos_become_items(folder: Path) -> None:
    items = opened(folder).items()
    assert items is not None
    known, unknown = items.to_pylist()
    assert known["tag"] == ["12", "65"]
    assert known["duration_s"] == pytest.approx(87.433)
    assert (known["music_type"], known["visible_status"], known["author_id"]) == ("9", "0", "90")
    assert known["published_at"] == datetime(2022, 4, 9, 16, tzinfo=UTC)
    assert [unknown[c] for c in ("duration_s", "tag", "music_id", "published_at")] == [None] * 4


def test_user_ranges_are_categories_and_counts_are_numbers(folder: Path) -> None:
    users = opened(folder).users()
    assert users is not None
    types = {field.name: field.type for field in users.schema}
    assert all(types[name] == pa.string() for name in USER_CATEGORIES)
    assert all(types[name] == pa.float64() for name in USER_COUNTS)
    assert users["onehot_feat4"].to_pylist() == ["1"]


def test_the_random_log_is_read_too(folder: Path) -> None:
    (folder / "data" / "log_random_4_22_to_5_08_1k.csv").write_text(LOG)
    events, _ = events_of(opened(folder))
    assert events.num_rows == 4


def test_malformed_lines_are_counted(folder: Path) -> None:
    with (folder / "data" / "log_standard_4_08_to_4_21_1k.csv").open("a") as log:
        log.write("9,12,2022\n")
    events, rejected = events_of(opened(folder))
    assert (events.num_rows, rejected) == (2, 1)


@pytest.mark.parametrize(
    "file", ["log_standard_4_08_to_4_21_1k", "video_features_basic_1k", "user_features_1k"]
)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / "data" / f"{file}.csv").unlink()
    with pytest.raises(InputError, match=rf"{file.rpartition('_')[0][:12]}.*\.csv: missing file"):
        opened(folder)


def test_two_releases_in_one_folder_are_refused(folder: Path) -> None:
    (folder / "data" / "user_features_pure.csv").write_text(user_features())
    with pytest.raises(InputError, match=r"several releases: user_features_1k\.csv and"):
        opened(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.path: no such folder: .*absent"):
        opened(tmp_path / "absent")


def test_a_missing_column_is_named(folder: Path) -> None:
    log = folder / "data" / "log_standard_4_08_to_4_21_1k.csv"
    log.write_text(LOG.replace("long_view", "long_look"))
    with pytest.raises(InputError, match="missing column 'long_view'"):
        events_of(opened(folder))


def test_sources_travel_to_other_processes(folder: Path) -> None:
    sources = pickle.loads(pickle.dumps(opened(folder).sources()))
    assert [block.events.num_rows for block in sources[0].blocks(10)] == [2]


def test_the_identity_changes_with_a_file(folder: Path) -> None:
    before = opened(folder).identity()
    with (folder / "data" / "log_standard_4_08_to_4_21_1k.csv").open("a") as log:
        log.write("\n")
    assert before != opened(folder).identity()
    assert len(before) == 3


@pytest.mark.skipif(not SHARED.exists(), reason="the real KuaiRand-Pure is not here")
def test_the_real_log_is_read_whole() -> None:
    adapter = opened(SHARED)
    events, rejected = events_of(adapter)
    items, users = adapter.items(), adapter.users()
    assert items is not None
    assert users is not None
    assert (events.num_rows, rejected) == (199_011, 0)
    assert (items.num_rows, users.num_rows) == (7_583, 27_285)
    assert events.group_by(events.schema.names).aggregate([]).num_rows == 199_011 - 5_308
