"""The toy bundle and what stands around it."""

from dataclasses import dataclass

import pytest

from features.stores.memory import MemoryStore
from features.stores.recorder import Recorder
from serve.counts import LatestCounts
from serve.hydration import Hydrator, UserSource
from tests.toy_bundle import DATA_END_MS, ToyBundle, toy_bundle


@dataclass
class StoppedClock:
    """Stands where the test puts it."""

    instant_ms: int = DATA_END_MS

    def now_ms(self) -> int:
        """Return the instant."""
        return self.instant_ms


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ToyBundle:
    """A toy bundle with a ranker."""
    return toy_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def bundle_without_ranker(tmp_path_factory: pytest.TempPathFactory) -> ToyBundle:
    """A toy bundle that only retrieves."""
    return toy_bundle(tmp_path_factory.mktemp("unranked"), has_ranker=False)


@pytest.fixture
def clock() -> StoppedClock:
    """A clock at the end of the data."""
    return StoppedClock()


@pytest.fixture
def users(bundle: ToyBundle, clock: StoppedClock) -> UserSource:
    """An empty store."""
    return UserSource(MemoryStore(), Recorder(bundle.schema), clock)


@pytest.fixture
def hydrator(bundle: ToyBundle, users: UserSource) -> Hydrator:
    """The first stage over the empty store."""
    return Hydrator(bundle, users, counts=LatestCounts(bundle), exclude_seen=True)
