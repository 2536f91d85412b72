"""The challenger beside the champion."""

import logging
from typing import Any

from serve.versions.alarms import alarm
from serve.versions.config import RolloutConfig
from serve.versions.roster import Roster
from serve.versions.tally import Tally

logger = logging.getLogger("ray.serve")


class Challenge:
    """Compares a challenger with the champion, from when every replica holds it.

    Args:
        config: the limits.
        roster: tells what replicas hold.
        tallies: of every bundle's answers.
    """

    def __init__(self, config: RolloutConfig, roster: Roster, tallies: dict[str, Tally]) -> None:
        self.config = config
        self.bundle: str | None = None
        self._roster = roster
        self._tallies = tallies
        self._begun: str | None = None

    def choose(self, bundle_id: str | None) -> None:
        """Take another challenger, or none."""
        if bundle_id != self.bundle:
            logger.warning("the challenger is bundle %s", bundle_id)
        self.bundle = bundle_id

    @property
    def is_on(self) -> bool:
        """Whether the challenger is to answer requests, shown or not."""
        if self.bundle is None or self.bundle != self._begun:
            return False
        return self._roster.all_hold(self.bundle)

    def step(self, champion: str) -> str | None:
        """Count anew for a challenger that all replicas hold; return what is wrong with it."""
        if self.bundle is None:
            self._begun = None
            return None
        if self._begun != self.bundle and self._roster.all_hold(self.bundle):
            self._begun = self.bundle
            self._tallies |= {champion: Tally(), self.bundle: Tally()}
        return alarm(self.config, self._tally(self.bundle), self._tally(champion))

    def status(self, champion: str | None) -> dict[str, Any] | None:
        """Return how the challenger does; None where there is none."""
        if self.bundle is None:
            return None
        own = self._tally(self.bundle)
        return {
            "bundle": self.bundle,
            "mode": self.config.mode,
            "is_held": self.is_on,
            "answers": round(own.answers),
            **own.beside(self._tally(champion or "")),
        }

    def _tally(self, bundle_id: str) -> Tally:
        return self._tallies.get(bundle_id, Tally())
