"""The Ray session: join a cluster or start a local one, with the environment that Ray needs."""

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray

from cluster.config import ClusterConfig
from cluster.errors import InputError
from cluster.haproxy import environment as haproxy_environment

# Read by Ray before it starts.
ENVIRONMENT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Ray's workers otherwise let every other process go first: on a busy machine a spike's answers
    # took 2.7 s at the 99th percentile, and 0.34 s like this.
    "RAY_worker_niceness": "0",
    # HAProxy knows of a leaving replica within a second; the default keeps it for 30 more.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    # A request whose replica dies is asked again of another: recommendations change nothing, and
    # events with an id or an instant are counted once. What fits the buffer can be sent again.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response junk-response",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
    # A busy machine starts HAProxy slowly; Ray kills one that takes longer, and gives up.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # What a killed sweep knew is at most so old when it goes on.
    "TUNE_GLOBAL_CHECKPOINT_S": "2",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Ray Tune's own tables, which it prints even when told not to, and its files for others.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # An interrupted sweep ends as any command does, and goes on later.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
# glibc otherwise gives large temporaries back to the kernel at every training step. OpenMP's
# threads otherwise spin for milliseconds where others want their cores: two threads on two busy
# cores took 8 times the CPU time and 10 times as long. Rows that are read all over a large table
# cost a quarter less where huge pages hold it.
WORKER_ENVIRONMENT = {
    "GOMP_SPINCOUNT": "1000",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "67108864",
    "THP_MEM_ALLOC_ENABLE": "1",
}
# A machine of our own is not taken away; watching for it costs a process per training.
LOCAL_ENVIRONMENT = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}
AUTH_MODE = "RAY_AUTH_MODE"
AUTH_TOKEN = "RAY_AUTH_TOKEN"
TOKEN_BYTES = 32
KNOCK_TIMEOUT_S = 5.0
SLOW_START = "timed out during startup"


def prepare_environment() -> None:
    """Set what Ray reads at start, leaving what the user has set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def cluster_address(config: ClusterConfig) -> str | None:
    """Return the cluster to join, None for a local one; a submitted job finds its own."""
    return config.address or os.environ.get("RAY_ADDRESS")


@contextmanager
def session(
    config: ClusterConfig, worker_environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Join or start Ray for the block; a session that was already open is left open.

    Args:
        config: which cluster, or how large a local one.
        worker_environment: of every process that Ray starts for the block.

    Raises:
        InputError: the cluster does not answer, or refuses.
    """
    if ray.is_initialized():
        yield
        return
    prepare_environment()
    address = cluster_address(config)
    if address:
        _join(address, worker_environment)
    else:
        _start(config, worker_environment)
    try:
        yield
    finally:
        ray.shutdown()


def repository_root() -> Path:
    """Return the folder that holds ours, for workers' import path."""
    return Path(__file__).resolve().parent.parent


def start_patiently(start: Callable[[], object]) -> None:
    """Start Ray once more where it gave up: it allows its own processes a fixed 30 seconds."""
    try:
        start()
    except Exception as error:
        if SLOW_START not in str(error):
            raise
        start()


def _join(address: str, environment: Mapping[str, str] | None) -> None:
    """Join a cluster; whether it wants a token is up to RAY_AUTH_MODE, as for Ray's own tools."""
    try:
        _knock(address)
        ray.init(
            address=address,
            runtime_env=_runtime_env(environment),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, ray.exceptions.AuthenticationError) as error:
        mode = os.environ.get(AUTH_MODE, "unset")
        raise InputError(
            f"cluster.address: cannot join {address!r} ({AUTH_MODE} is {mode}): {error}"
        ) from error


def _knock(address: str) -> None:
    """Fail at once where nothing listens: Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_TIMEOUT_S).close()


def _start(config: ClusterConfig, environment: Mapping[str, str] | None) -> None:
    """Start a Ray of our own.

    Its ports listen on every interface, so it is never left open: unless the user has chosen
    otherwise, Ray turns token authentication on. The token is this run's own and lives in the
    environment of its processes: one saved under the home folder would be enforced by clusters
    started later.
    """
    if AUTH_MODE not in os.environ and not _has_token():
        os.environ[AUTH_TOKEN] = secrets.token_hex(TOKEN_BYTES)
    for name, value in {**LOCAL_ENVIRONMENT, **haproxy_environment()}.items():
        os.environ.setdefault(name, value)
    start_patiently(
        partial(
            ray.init,
            num_cpus=config.num_cpus,
            object_store_memory=config.object_store_mb * 2**20,
            include_dashboard=config.dashboard,
            runtime_env=_runtime_env(environment),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    )


def _runtime_env(environment: Mapping[str, str] | None) -> dict[str, dict[str, str]] | None:
    return {"env_vars": dict(environment)} if environment else None


def _has_token() -> bool:
    named = any(os.environ.get(name) for name in (AUTH_TOKEN, f"{AUTH_TOKEN}_PATH"))
    return named or (Path.home() / ".ray" / "auth_token").is_file()
