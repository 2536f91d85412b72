"""Which adapter reads which `[dataset] format`."""

from collections.abc import Callable, Sequence

from features.config import DatasetConfig, TaskConfig
from features.datasets.adapter import Adapter
from features.datasets.checked import Checked
from features.datasets.kuairand import KuaiRand
from features.datasets.movielens import MovieLens
from features.datasets.parquet import Parquet
from features.datasets.synthetic import Synthetic

ADAPTERS: dict[str, Callable[[DatasetConfig], Adapter]] = {
    "kuairand": KuaiRand,
    "movielens": MovieLens,
    "parquet": Parquet,
    "synthetic": Synthetic,
}


def open_dataset(config: DatasetConfig, tasks: Sequence[TaskConfig]) -> Adapter:
    """Open a data set for these tasks.

    Raises:
        InputError: a file, column or type is not as the format needs it.
    """
    return Checked(ADAPTERS[config.format](config), tasks)
