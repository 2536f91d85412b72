"""Config files become settings or one-line errors."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import UNITS_MS, load, parse_duration
from cluster.errors import ConfigError
from features.config import FeatureSettings

TEXT = """
recommender = "shop"
[dataset]
format = "synthetic"
[[tasks]]
name = "click"
column = "clicked"
[serve]
anything = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(TEXT)
    return path


def complaint(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(FeatureSettings, path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_lower_folder_ignores_sections_that_it_does_not_own(config: Path) -> None:
    assert load(FeatureSettings, config).recommender == "shop"


def test_overrides_reach_nested_keys_and_list_entries(config: Path) -> None:
    overrides = ["features.split.validation=2h", "tasks.0.weight=0.5", "dataset.users=7"]
    settings = load(FeatureSettings, config, overrides)
    assert settings.features.split.validation == 2 * UNITS_MS["h"]
    assert settings.tasks[0].weight == 0.5
    assert settings.dataset.users == 7


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("features.histroy_length=5", "did you mean 'history_length'?"),
        ("fatures.history_length=5", "did you mean 'features'?"),
        ("tasks.0.wieght=5", "did you mean 'weight'?"),
        ("features.split.kidn=time", "did you mean 'kind'?"),
        (
            "features.history_length=many",
            "features.history_length: input should be a valid integer",
        ),
        ("features.split.test=2 days", "is not a duration"),
        ("dataset.format=csv", "dataset.format"),
        ("features.history_length", "expected section.key=value"),
        ("recommender.x=1", "holds no keys"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_hint(
    config: Path, override: str, expected: str
) -> None:
    assert expected in complaint(config, override)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    assert "no such config file" in complaint(tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("recommender = ")
    assert "broken.toml: not valid TOML" in complaint(broken)


def test_repeated_task_names_are_refused(config: Path) -> None:
    config.write_text(TEXT + '[[tasks]]\nname = "click"\ncolumn = "other"\n')
    assert "task names repeat" in complaint(config)


@given(st.floats(min_value=0, max_value=1e6), st.sampled_from(sorted(UNITS_MS)))
def test_durations_read_back_as_milliseconds(number: float, unit: str) -> None:
    assert parse_duration(f"{number!r}{unit}") == round(number * UNITS_MS[unit])
