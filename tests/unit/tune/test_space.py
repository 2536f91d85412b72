"""The space: values are drawn in range, conditions hold, the config's own values are found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.errors import ConfigError
from tests.sweeps import SPACE, sweep_of
from tune.schedulers import initial
from tune.space import Space, short_names

RATE, MIXTURE, EXPERTS = (
    "train.ranking.learning_rate",
    "models.ranker.mixture",
    "models.ranker.experts",
)


class Draws:
    """Draws like Optuna's trial, from a generator of its own."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.drawn: dict[str, Any] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw a number."""
        assert step is None
        draw = np.exp(self.random.uniform(np.log(low), np.log(high))) if log else low
        self.drawn[name] = float(draw)
        return float(draw)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Draw a whole number."""
        self.drawn[name] = int(self.random.integers(low, high + 1))
        return int(self.drawn[name])

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draw one of a list."""
        self.drawn[name] = choices[self.random.integers(len(choices))]
        return self.drawn[name]


def draw(space: Space, seed: int) -> dict[str, Any]:
    draws = Draws(seed)
    space(draws)
    return draws.drawn


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return sweep_of(SPACE, tmp_path).space


def test_a_condition_decides_whether_a_parameter_is_drawn(space: Space) -> None:
    drawn = [space.values(draw(space, seed)) for seed in range(40)]
    assert {values[MIXTURE] for values in drawn} == {"shared", "mmoe"}
    assert all((EXPERTS in values) == (values[MIXTURE] == "mmoe") for values in drawn)
    assert {values.get(EXPERTS) for values in drawn} == {None, 2, 3, 4}


def test_a_condition_on_a_key_that_is_not_varied_asks_the_config(tmp_path: Path) -> None:
    text = '[tune.space."models.ranker.experts"]\nlow = 2\nhigh = 4\nwhen = { "%s" = %s }\n'
    wanted = sweep_of(text % (MIXTURE, '["mmoe", "ple"]'), tmp_path).space
    unwanted = sweep_of(text % (MIXTURE, '"shared"'), tmp_path).space
    assert EXPERTS in draw(wanted, 0)
    assert draw(unwanted, 0) == {}


def test_conditions_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = """
    [tune.space."models.ranker.experts"]
    choice = [2, 3]
    when = { "models.ranker.width" = 8 }
    [tune.space."models.ranker.width"]
    choice = [8, 16]
    when = { "models.ranker.experts" = 2 }
    """
    with pytest.raises(ValueError, match="conditions in a circle: models.ranker.experts, models"):
        sweep_of(text, tmp_path)


def test_the_configs_own_values_are_a_point_of_the_space(space: Space) -> None:
    defaults = space.defaults()
    assert defaults is not None
    assert space.values(defaults) == {RATE: 0.001, MIXTURE: "mmoe", EXPERTS: 3}


def test_a_space_without_the_configs_own_values_says_so(tmp_path: Path) -> None:
    text = f'[tune.space."{RATE}"]\nlow = 0.5\nhigh = 0.9\n'
    assert sweep_of(text, tmp_path).space.defaults() is None


def test_choices_may_be_lists_and_durations(tmp_path: Path) -> None:
    text = """
    [tune.space."models.ranker.expert_dims"]
    choice = [[64], [128, 64]]
    """
    space = sweep_of(text, tmp_path).space
    defaults = space.defaults()
    assert defaults is not None
    assert space.values(defaults) == {"models.ranker.expert_dims": [128, 64]}
    text = """
    [tune]
    model = "retrieval"
    [tune.space."train.retrieval.half_life"]
    choice = ["1d", "7d"]
    """
    sweep = sweep_of(text, tmp_path)
    settings = sweep.settings_of({"train.retrieval.half_life": '"7d"'})
    assert settings.train.retrieval.half_life == 7 * 86_400_000


def test_a_trials_settings_are_the_configs_but_for_what_was_drawn(tmp_path: Path) -> None:
    sweep = sweep_of(SPACE, tmp_path)
    settings = sweep.settings_of({RATE: 0.005, MIXTURE: '"shared"'})
    assert settings.train.ranking.learning_rate == 0.005
    assert settings.models.ranker.mixture == "shared"
    assert settings.train.ranking.epochs == sweep.settings.train.ranking.epochs
    assert "tune" not in sweep.values_of({})


def test_values_that_the_sections_refuse_together_are_refused_by_name(tmp_path: Path) -> None:
    text = '[tune]\nmodel = "retrieval"\n[tune.space."models.two_tower.heads"]\nchoice = [2, 3]\n'
    sweep = sweep_of(text, tmp_path)
    with pytest.raises(ConfigError, match=r"tiny.toml: models.two_tower: heads = 3 does not div"):
        sweep.settings_of({"models.two_tower.heads": "3"})


def test_a_population_is_drawn_from_the_space_and_stays_in_it(tmp_path: Path) -> None:
    text = """
    [tune]
    scheduler = "pbt"
    [tune.space."train.ranking.learning_rate"]
    low = 1e-4
    high = 1e-2
    log = true
    [tune.space."models.ranker.dropout"]
    choice = [0.0, 0.1, 0.2]
    """
    sweep = sweep_of(text, tmp_path)
    domains = initial(sweep.config, sweep.space)
    drawn = {key: domain.sample() for key, domain in domains.items()}
    assert 1e-4 <= drawn[RATE] <= 1e-2
    assert drawn["models.ranker.dropout"] in {"0.0", "0.1", "0.2"}
    pushed = sweep.space.clamped({**drawn, RATE: 0.012})
    assert pushed == {**drawn, RATE: 0.01}


def test_short_names_are_the_last_part_unless_two_keys_share_it() -> None:
    keys = ["models.ranker.dropout", "models.two_tower.dropout", RATE]
    assert list(short_names(keys).values()) == [*keys[:2], "learning_rate"]


def test_a_sweeps_identity_is_that_of_its_space_but_not_of_its_concurrency(tmp_path: Path) -> None:
    one = sweep_of(SPACE, tmp_path)
    other = sweep_of(SPACE.replace("high = 4", "high = 5"), tmp_path)
    wider = sweep_of(SPACE.replace("trials = 3", "trials = 3\nconcurrent_trials = 2"), tmp_path)
    assert one.id == wider.id != other.id
