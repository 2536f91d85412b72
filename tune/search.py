"""Who proposes the next trial's values: Optuna's estimator or independent draws."""

from collections.abc import Callable
from typing import Any

import ray.tune.search.optuna

from cluster.errors import ConfigError
from tune.config import TuneConfig
from tune.space import Space
from tune.trial import SCORE

MAX_STARTUP = 10


def searcher(config: TuneConfig, space: Space, concurrent: int) -> ray.tune.search.SearchAlgorithm:
    """Build the search; the config's own values come first where the space holds them.

    Args:
        config: names the search; population based training draws its members by itself.
        space: to search.
        concurrent: trials at a time.

    Raises:
        ConfigError: Optuna is not installed.
    """
    defaults = space.defaults()
    points = [] if defaults is None else [defaults]
    if config.scheduler == "pbt":
        return ray.tune.search.BasicVariantGenerator(
            points_to_evaluate=points, max_concurrent=concurrent, random_state=config.seed
        )
    search = ray.tune.search.optuna.OptunaSearch(
        space=space,
        metric=SCORE,
        mode="max",
        points_to_evaluate=points,
        sampler=SAMPLERS[config.search](config),
    )
    return ray.tune.search.ConcurrencyLimiter(search, max_concurrent=concurrent)


def _tpe(config: TuneConfig) -> Any:
    """Build a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).

    It sees parameters together and takes the trials that are under way for bad ones, so that
    concurrent trials differ. A quarter of a small sweep is drawn independently first.
    """
    samplers = _samplers()
    startup = min(MAX_STARTUP, max(3, (config.num_trials or MAX_STARTUP * 4) // 4))
    return samplers.TPESampler(
        seed=config.seed, n_startup_trials=startup, multivariate=True, constant_liar=True
    )


def _random(config: TuneConfig) -> Any:
    return _samplers().RandomSampler(seed=config.seed)


SAMPLERS: dict[str, Callable[[TuneConfig], Any]] = {"tpe": _tpe, "random": _random}


def _samplers() -> Any:
    try:
        import optuna
    except ImportError:
        raise ConfigError("tune.search needs Optuna: pip install 'millrace[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.samplers
