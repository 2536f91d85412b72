"""What could not be opened or filled for, and is let be for a while."""

from collections.abc import Iterator

RETRY_S = 60.0
"""A bundle that failed is tried again after so long."""


class Failures:
    """Remembers bundles that failed, with the reason."""

    def __init__(self) -> None:
        self._noted: dict[str, tuple[str, float]] = {}

    def note(self, bundle_id: str, reason: str, now_s: float) -> None:
        """Take a failure; one that goes on counts from its beginning."""
        self._noted.setdefault(bundle_id, (reason, now_s))

    def forget(self, now_s: float) -> None:
        """Strike out those that may be tried again."""
        for bundle_id, (_, noted_s) in list(self._noted.items()):
            if now_s - noted_s > RETRY_S:
                del self._noted[bundle_id]

    def reasons(self) -> Iterator[tuple[str, str]]:
        """Yield the bundles with why they failed."""
        for bundle_id, (reason, _) in self._noted.items():
            yield bundle_id, reason
