"""What a process takes of the machine: memory and file descriptors, as Linux counts them."""

from dataclasses import dataclass
from pathlib import Path

KB_PER_MB = 1024
PROC = Path("/proc")


@dataclass(frozen=True)
class Footprint:
    """One process at one instant.

    Attributes:
        pss_mb: proportional set size: private pages, and each shared page by its number of users.
        uss_mb: unique set size: what the machine would get back.
        rss_mb: resident set size: shared pages in full.
        anon_mb: of the proportional set size, what no file holds.
        num_fds: open file descriptors.
    """

    pss_mb: float
    uss_mb: float
    rss_mb: float
    anon_mb: float
    num_fds: int

    @classmethod
    def of(cls, process_id: int, proc: Path = PROC) -> "Footprint | None":
        """Look at a process; None where it has ended."""
        folder = proc / str(process_id)
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()[1:]
            num_fds = len(list((folder / "fd").iterdir()))
        except OSError:
            return None
        kb = {name: int(value.split()[0]) for name, _, value in (x.partition(":") for x in lines)}
        if not kb:
            return None
        private_kb = kb["Private_Clean"] + kb["Private_Dirty"]
        return cls(
            pss_mb=kb["Pss"] / KB_PER_MB,
            uss_mb=private_kb / KB_PER_MB,
            rss_mb=kb["Rss"] / KB_PER_MB,
            anon_mb=kb["Pss_Anon"] / KB_PER_MB,
            num_fds=num_fds,
        )
