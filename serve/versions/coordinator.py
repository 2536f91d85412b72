"""Decides which bundle answers: the registry's champion, once every replica holds it."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from retrieval.registry import Standing
from serve.versions.alarms import alarm, unfit
from serve.versions.challenge import Challenge
from serve.versions.config import RolloutConfig
from serve.versions.failures import Failures
from serve.versions.orders import Orders, Report
from serve.versions.roster import Roster
from serve.versions.sighting import Sighting
from serve.versions.tally import Tally, merged

SETTLE_S = 3.0
"""Replicas that outlived another coordinator have told by then what they answer from."""
LINGER_S = 20.0
"""Requests for a bundle that is not to be used any more have ended by then."""
logger = logging.getLogger("ray.serve")


class Coordinator:
    """Knows no Ray: it is told what replicas report and what the registry says.

    A bundle takes over in two phases: every replica opens it beside the champion and warms it up,
    the online store is filled for it, and gateways let it answer their latest requests, unseen;
    then all are told to answer from it. Whoever fails on it stops it, and for a while after it
    took over an alarm brings the champion before it back. A challenger that raises an alarm is
    stopped.

    Args:
        config: the limits.
        deployed: what replicas answer from that nobody has told anything else.
        clock: seconds, never falling.
    """

    def __init__(
        self, config: RolloutConfig, deployed: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        self.champion: str | None = None
        self.previous: str | None = None
        """Champion before this one, while it may come back."""
        self.incoming: str | None = None
        self.refusals: dict[str, str] = {}
        """Why bundles were taken back, of which the registry is to be told."""
        self._deployed = deployed
        self._clock = clock
        self._started_s = clock()
        self._switched_s = self._started_s
        self._sighting: Sighting | None = None
        self._trouble: str | None = None
        self._roster = Roster()
        self._failures = Failures()
        self._needed_until_s: dict[str, float] = {}
        self._proven: set[str] = set()
        self._filled: str | None = None
        self._tallies: dict[str, Tally] = {}
        self._challenge = Challenge(config, self._roster, self._tallies)

    def sync(self, report: Report) -> Orders | None:
        """Hear a replica and tell it what to do; None while that is not known."""
        now_s = self._clock()
        self._roster.hear(report, now_s)
        for bundle_id, tally in report.answers.items():
            self._tallies.setdefault(bundle_id, Tally()).add(tally)
        self._advance(now_s)
        if self.champion is None:
            return None
        wanted = self._wanted()
        for bundle_id in wanted:
            self._needed_until_s[bundle_id] = now_s + LINGER_S
        incoming, challenge = self.incoming, self._challenge
        return Orders(
            self.champion,
            wanted,
            on_trial=incoming if incoming and self._is_ready(incoming) else None,
            challenger=challenge.bundle if challenge.is_on else None,
            kept=tuple(i for i, until_s in self._needed_until_s.items() if until_s > now_s),
            status=self.status(),
            rate=self._roster.rate(now_s),
        )

    def observe(self, sighting: Sighting) -> None:
        """Hear what the registry says."""
        self._sighting, self._trouble = sighting, None
        standing = sighting.standing
        named = {standing.champion, standing.challenger} - standing.refused.keys()
        for bundle_id in self.refusals.keys() - named:
            del self.refusals[bundle_id]
        self._advance(self._clock())

    def lose_sight(self, reason: str) -> None:
        """Hear that the registry cannot be read: what it said last goes on."""
        if self._trouble is None:
            logger.warning("the registry cannot be read: %s", reason)
        self._trouble = reason

    @property
    def unfilled(self) -> str | None:
        """The bundle for which the online store is to be filled next.

        The incoming one when every replica holds it, as nothing is filled for what cannot be
        opened; the champion after another one was taken back or did not take over.
        """
        due = self.incoming or self.champion
        if due is None or due == self._filled:
            return None
        if due == self.incoming and (due in self._proven or not self._roster.all_hold(due)):
            return None
        return due

    def begin_filling(self) -> None:
        """Hear that the store is being filled: until that has ended it is filled for nobody."""
        self._filled = None

    def note_filled(self, bundle_id: str, trouble: str | None = None) -> None:
        """Hear that the store was filled for a bundle, or what came in the way."""
        now_s = self._clock()
        if trouble is not None:
            logger.warning("the online store is not filled for bundle %s: %s", bundle_id, trouble)
        if trouble is not None and bundle_id == self.incoming:
            self._failures.note(bundle_id, trouble, now_s)
        else:
            self._filled = bundle_id
        self._advance(now_s)

    def status(self) -> dict[str, Any]:
        """Return what a person who asks is told."""
        return {
            "champion": self.champion,
            "previous": self.previous,
            "incoming": self.incoming,
            "challenger": self._challenge.status(self.champion),
            "refused": dict(self._refused()),
            "replicas": len(self._roster.reports),
            "held": self._roster.num_holding(),
            "filled": self._filled,
            "registry": self._trouble or "ok",
        }

    def _wanted(self) -> tuple[str, ...]:
        """Return what every replica is to hold, the most urgent first."""
        all_of_them = (self.champion, self.previous, self.incoming, self._challenge.bundle)
        return tuple(dict.fromkeys(i for i in all_of_them if i is not None))

    def _advance(self, now_s: float) -> None:
        """Take every step that can be taken."""
        self._roster.forget(now_s)
        if self.champion is None and now_s - self._started_s >= SETTLE_S:
            self.champion = self._roster.answering() or self._deployed
            self._proven.add(self.champion)
            self._filled = self.champion
        if self.champion is None or self._sighting is None:
            return
        self._note_failures(now_s)
        self._choose(self._sighting.standing)
        self._take_over(now_s)
        self._watch(now_s)
        reason = self._challenge.step(self.champion)
        if reason is not None and self._challenge.bundle is not None:
            self._refuse(self._challenge.bundle, reason)
            self._challenge.choose(None)

    def _note_failures(self, now_s: float) -> None:
        self._failures.forget(now_s)
        for bundle_id, reason in self._roster.failures():
            if bundle_id in self._wanted():
                self._failures.note(bundle_id, reason, now_s)

    def _choose(self, standing: Standing) -> None:
        """Prepare what the registry names unless there is something against it."""
        refused = dict(self._refused())
        incoming, challenger = standing.champion, standing.challenger
        if incoming in refused or incoming == self.champion:
            incoming = None
        if challenger in refused or challenger in (self.champion, standing.champion):
            challenger = None
        if self.incoming is not None and incoming != self.incoming:
            reason = refused.get(self.incoming, "the registry has another champion")
            logger.warning("bundle %s does not take over: %s", self.incoming, reason)
        if incoming is not None and incoming != self.incoming:
            logger.warning("bundle %s is prepared to take over", incoming)
        self.incoming = incoming
        self._challenge.choose(challenger)

    def _take_over(self, now_s: float) -> None:
        """Let the incoming bundle answer, when it is ready and has stood its trial."""
        if self.incoming is None or not self._is_ready(self.incoming):
            return
        if self.incoming not in self._proven:
            trials = self._roster.trials(self.incoming)
            if trials is None:
                return
            if not self._stands(self.incoming, merged(trials)):
                return
        logger.warning("bundle %s answers in place of %s", self.incoming, self.champion)
        self.previous, self.champion, self.incoming = self.champion, self.incoming, None
        self._proven.add(self.champion)
        self._switched_s = now_s
        self._tallies[self.champion] = Tally()

    def _stands(self, bundle_id: str, trial: Tally) -> bool:
        """Tell whether a bundle may take over after a trial, which is logged."""
        logger.warning("bundle %s tried on live requests, unseen: %s", bundle_id, trial)
        reason = unfit(self.config, trial)
        if reason is not None:
            self._refuse(bundle_id, f"on trial: {reason}")
        return reason is None

    def _watch(self, now_s: float) -> None:
        """Bring the champion before this one back if there is an alarm; in time, let it go."""
        if self.champion is None or self.previous is None:
            return
        own, other = (self._tallies.get(i, Tally()) for i in (self.champion, self.previous))
        reason = alarm(self.config, own, other)
        if reason is not None:
            self._refuse(self.champion, reason)
            logger.warning("bundle %s answers again", self.previous)
            self.champion, self.previous = self.previous, None
        elif now_s - self._switched_s >= self.config.watch / 1000:
            self.previous = None

    def _is_ready(self, bundle_id: str) -> bool:
        """Tell whether a bundle may be tried: all hold it, and the store is filled for it.

        One that was champion before takes over at once, and the store is filled after it.
        """
        is_filled = bundle_id == self._filled or bundle_id in self._proven
        return is_filled and self._roster.all_hold(bundle_id)

    def _refuse(self, bundle_id: str, reason: str) -> None:
        logger.warning("bundle %s is taken back: %s", bundle_id, reason)
        self.refusals[bundle_id] = reason
        if bundle_id == self.incoming:
            self.incoming = None

    def _refused(self) -> Iterator[tuple[str, str]]:
        """Yield the bundles that may not answer, with the reason."""
        if self._sighting is not None:
            yield from self._sighting.standing.refused.items()
            yield from self._sighting.unsound.items()
        yield from self._failures.reasons()
        yield from self.refusals.items()
