"""What a few replicas tell of the next one."""

import statistics
from collections.abc import Sequence
from typing import Any


def summary(
    rows: Sequence[dict[str, Any]], starts: Sequence[dict[str, Any]], programs: str
) -> dict[str, float]:
    """Tell of one kind of programs what the first and the second replica take, and a start."""
    totals = [row["total_pss_mb"] for row in rows if row["programs"] == programs]
    own = [start for start in starts if start["programs"] == programs]
    return {
        "one_replica_mb": totals[0],
        "second_adds_mb": round(totals[1] - totals[0], 1),
        "third_adds_mb": round(totals[2] - totals[1], 1),
        "ready_s": round(statistics.median(start["total_s"] for start in own), 2),
        "ready_cpu_s": round(statistics.median(start["cpu_s"] for start in own), 2),
    }
