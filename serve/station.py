"""What a stage's deployment does on one replica: consecutive stages of the bundles held there."""

from collections.abc import Callable

from serve.config import ServeConfig
from serve.pipeline import RESERVED
from serve.progress import Progress, advance
from serve.stages import BundleMismatchError, Stages
from serve.topology import StageName, share_of
from serve.versions.lineup import Lineup
from serve.versions.orders import Orders, Report
from serve.workload import Workload

RETURN = 0.05
"""Share of the budget for the way back."""


class Station:
    """Runs stages of whichever bundle a request names.

    Args:
        config: as the deployment's replicas read it.
        name: the deployment's.
        reopen: opens a bundle's stages and warms them up.
    """

    def __init__(self, config: ServeConfig, name: str, reopen: Callable[[str], Stages]) -> None:
        self.lineup = Lineup(name, reopen)
        self.reserved_s = (RESERVED + RETURN) * config.budget / 1000
        objective_s = share_of(config.size(name).stages) * config.objective / 1000
        self.workload = Workload(objective_s, parallelism=config.threads)

    async def run(self, names: tuple[StageName, ...], given: Progress) -> Progress:
        """Run some of the stages on what earlier ones have made.

        Raises:
            BundleMismatchError: the request's bundle is not held here.
        """
        stages = self.lineup.held.get(given.plan.bundle or "")
        if stages is None:
            raise BundleMismatchError(f"this replica does not hold bundle {given.plan.bundle}")
        with self.workload.counted(given.plan) as call:
            made = await advance(stages, names, given, reserved_s=self.reserved_s)
            call.is_answered = made.failed is None
        return made

    def report(self) -> Report:
        """Tell the coordinator which bundles this replica holds."""
        return self.lineup.report()

    def follow(self, orders: Orders) -> None:
        """Hold the bundles that are wanted, and hear how many requests come to the service."""
        self.lineup.follow(orders)
        self.workload.hear(orders.rate)
