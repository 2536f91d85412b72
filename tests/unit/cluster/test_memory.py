"""The memory that is left, read from folders like the kernel's."""

import math
import resource
from pathlib import Path

import pytest

from cluster.memory import Memory

MB = 2**20


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.fixture
def machine(tmp_path: Path) -> Memory:
    write(tmp_path / "proc", {"meminfo": f"MemTotal: 1 kB\nMemAvailable: {8 * 1024} kB\n"})
    return Memory(tmp_path / "proc", tmp_path / "cgroup")


def test_without_other_limits_it_is_the_machines(machine: Memory) -> None:
    assert machine.available_bytes() == 8 * MB


def test_nothing_is_known_outside_linux(tmp_path: Path) -> None:
    assert Memory(tmp_path, tmp_path).available_bytes() == math.inf


def test_the_tightest_group_above_counts_and_its_file_cache_gives_way(machine: Memory) -> None:
    write(machine.proc, {"self/cgroup": "0::/jobs/one\n"})
    write(
        machine.cgroups,
        {
            "jobs/memory.max": str(6 * MB),
            "jobs/memory.current": str(5 * MB),
            "jobs/memory.stat": f"anon 1\ninactive_file {2 * MB}\n",
            "jobs/one/memory.max": "max",
            "jobs/one/memory.current": str(5 * MB),
        },
    )
    assert machine.available_bytes() == 3 * MB


def test_groups_of_version_1_count_too(machine: Memory) -> None:
    write(machine.proc, {"self/cgroup": "5:cpu:/\n4:memory:/box\n0::/\n"})
    write(
        machine.cgroups / "memory" / "box",
        {"memory.limit_in_bytes": str(4 * MB), "memory.usage_in_bytes": str(3 * MB)},
    )
    assert machine.available_bytes() == MB


def test_a_group_that_only_its_container_can_see_is_found_at_the_root(machine: Memory) -> None:
    write(machine.proc, {"self/cgroup": "0::/unseen/by/us\n"})
    write(machine.cgroups, {"memory.max": str(4 * MB), "memory.current": str(2 * MB)})
    assert machine.available_bytes() == 2 * MB


def test_a_limit_of_the_address_space_counts(machine: Memory) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    write(machine.proc, {"self/statm": f"{own // resource.getpagesize()} 1 1\n"})
    resource.setrlimit(resource.RLIMIT_AS, (own + 2**30, hard))
    try:
        write(machine.proc, {"self/statm": f"{(own + 2**30 - MB) // resource.getpagesize()} 1\n"})
        assert 0 < machine.available_bytes() <= MB + resource.getpagesize()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
