"""What the replicas reserve to begin with, and whether Ray has it."""

from collections.abc import Mapping

from cluster.errors import InputError
from serve.topology import Layout

REMEDIES = {
    "CPU": "lower num_cpus or raise cluster.num_cpus",
    "GPU": "lower num_gpus",
}


def reserved(layout: Layout) -> dict[str, float]:
    """Return how much of each of Ray's resources the deployments' first replicas take."""
    return {
        "CPU": sum(size.min_replicas * size.num_cpus for size in layout),
        "GPU": sum(size.min_replicas * size.num_gpus for size in layout),
    }


def check_room(layout: Layout, available: Mapping[str, float]) -> None:
    """Compare with what Ray has; replicas that do not fit would wait for ever.

    Raises:
        InputError: it has less of something.
    """
    for kind, number in reserved(layout).items():
        there_is = available.get(kind, 0.0)
        if number > there_is:
            raise InputError(
                f"serve.scaling: the replicas reserve {number:g} {kind}s, but Ray has "
                f"{there_is:g}; {REMEDIES[kind]}"
            )
