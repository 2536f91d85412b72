"""The replicas of a service, as far as they have reported of late."""

from collections import Counter
from collections.abc import Iterator

from serve.versions.orders import Report
from serve.versions.tally import Tally

LEASE_S = 5.0
"""A replica that has not reported for so long is gone."""
RATE_LEASE_S = 1.5
"""What came to a gateway that has not reported for so long is not counted: when it has died, the
others have its requests."""


class Roster:
    """Knows what the replicas hold and what they answer from."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[Report, float]] = {}

    def hear(self, report: Report, now_s: float) -> None:
        """Take a replica's latest report."""
        self._heard[report.replica] = report, now_s

    def forget(self, now_s: float) -> None:
        """Strike out those that are gone."""
        for replica, (_, heard_s) in list(self._heard.items()):
            if now_s - heard_s > LEASE_S:
                del self._heard[replica]

    @property
    def reports(self) -> list[Report]:
        """The latest report of every replica."""
        return [report for report, _ in self._heard.values()]

    def rate(self, now_s: float) -> float:
        """Return the requests per second that come to all gateways."""
        return sum(
            report.rate
            for report, heard_s in self._heard.values()
            if now_s - heard_s <= RATE_LEASE_S
        )

    def answering(self) -> str | None:
        """Return what most gateways answer from."""
        votes = Counter(report.champion for report in self.reports if report.champion is not None)
        return votes.most_common(1)[0][0] if votes else None

    def all_hold(self, bundle_id: str) -> bool:
        """Tell whether every replica holds a bundle."""
        reports = self.reports
        return bool(reports) and all(bundle_id in report.held for report in reports)

    def num_holding(self) -> dict[str, int]:
        """Return how many replicas hold each bundle."""
        return dict(Counter(bundle_id for report in self.reports for bundle_id in report.held))

    def failures(self) -> Iterator[tuple[str, str]]:
        """Yield the bundles that replicas could not open, with the reason."""
        for report in self.reports:
            yield from report.failed.items()

    def trials(self, bundle_id: str) -> list[Tally] | None:
        """Return every gateway's trial of a bundle; None while one of them has not ended it."""
        found = [r.trials.get(bundle_id) for r in self.reports if r.champion is not None]
        ended = [tally for tally in found if tally is not None]
        return ended if len(ended) == len(found) else None
