"""What a replica needs to run stages of one bundle, opened when it is first asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cluster.storage import Storage
from features.stores.layouts import Layouts
from features.stores.recorder import Recorder
from models.bundle import Bundle
from serve.caches.answers import AnswerCache
from serve.clock import open_clock
from serve.config import ServeSettings
from serve.counts import LatestCounts
from serve.events import EventWriter
from serve.fallback import Fallback
from serve.hydration import Hydrator, UserSource
from serve.kept import Kept
from serve.local import LocalStages
from serve.precomputed import PrecomputedAnswers
from serve.ranking import Ranker
from serve.reranking import Reranker
from serve.runtime import open_programs
from serve.shared import Shared
from serve.sources import Sources
from serve.topology import PLACED, StageName
from serve.withdrawals import Withdrawals


@dataclass(frozen=True)
class Equipment:
    """One bundle with the configured store, clock and stages.

    Attributes:
        settings: of the recommender.
        bundle: the one.
        shared: what other bundles in this process use too.
    """

    settings: ServeSettings
    bundle: Bundle
    shared: Shared

    @classmethod
    def open(
        cls,
        settings: ServeSettings,
        bundle_path: Path,
        shared: Shared | None = None,
        *,
        is_patient: bool = False,
    ) -> "Equipment":
        """Open a published bundle.

        Args:
            settings: of the recommender.
            bundle_path: its folder.
            shared: what the process has already; None for the only bundle, without caches.
            is_patient: wait for programs that are being compiled.

        Raises:
            InputError: the bundle is missing, incomplete or of another schema.
        """
        storage = Storage(settings.storage.root, settings.recommender)
        shared = shared or Shared(settings)
        config, num_threads = settings.serve.runtime, settings.serve.threads
        programs = open_programs(
            config, storage, num_threads, is_patient=is_patient, device=shared.device
        )
        if shared.caches is not None:
            programs = shared.caches.programs(programs)
        return cls(settings, Bundle(bundle_path, programs), shared)

    @cached_property
    def users(self) -> UserSource:
        """The online store, what reads its records, and the clock."""
        store = self.shared.store
        schema = self.bundle.schema
        kind = self.settings.serve.clock if schema.has_time else "wall"
        return UserSource(
            store,
            Recorder(schema, self.settings.serve.store.max_positives, Layouts(store)),
            open_clock(kind, store, data_end_ms=self.bundle.manifest["data_end_ms"]),
        )

    @cached_property
    def hydrator(self) -> Hydrator:
        """The first stage."""
        exclude_seen = self.settings.retrieval.exclude_seen
        return Hydrator(self.bundle, self.users, counts=self.counts, exclude_seen=exclude_seen)

    @cached_property
    def counts(self) -> LatestCounts:
        """The bundle's counts of items and contexts."""
        return LatestCounts(self.bundle)

    @cached_property
    def sources(self) -> Sources:
        """The second and third stage."""
        return Sources.open(self.bundle, self.settings.retrieval)

    @cached_property
    def ranker(self) -> Ranker:
        """The fourth stage."""
        max_batch = self.settings.serve.runtime.batch_on(self.shared.device)
        return Ranker(self.bundle, self.counts, max_batch)

    @cached_property
    def reranker(self) -> Reranker:
        """The last stage."""
        return Reranker(self.bundle, self.settings.serve.value, self.settings.serve.rerank)

    def local(self, names: Sequence[StageName] = PLACED) -> LocalStages:
        """Return some stages, to be run in this process."""
        return LocalStages(
            self.hydrator if "hydrate" in names else None,
            self.sources if "retrieve" in names else None,
            ranker=self.ranker if "rank" in names else None,
            reranker=self.reranker if "rerank" in names else None,
            threads=self.shared.threads,
        )

    @cached_property
    def fallback(self) -> Fallback:
        """What answers when the stages cannot."""
        return Fallback(self.bundle)

    @cached_property
    def precomputed(self) -> PrecomputedAnswers:
        """What was computed for users before they ask."""
        exclude_seen = self.settings.retrieval.exclude_seen
        return PrecomputedAnswers(self.users.store, exclude_seen=exclude_seen)

    @cached_property
    def kept(self) -> Kept:
        """What is looked up before or instead of the stages."""
        return Kept(self.answers, self.precomputed, self.withdrawals)

    @cached_property
    def answers(self) -> AnswerCache | None:
        """Answers that need not be computed again."""
        if self.shared.caches is None:
            return None
        generation = self.withdrawals.generation
        return self.shared.caches.answers(self.bundle.id, self.users.store, generation)

    @cached_property
    def withdrawals(self) -> Withdrawals:
        """What nobody shall see."""
        return Withdrawals(self.users.store, self.bundle.catalogue.rows_by_id)

    @cached_property
    def events(self) -> EventWriter:
        """What writes events into the store."""
        return EventWriter(self.bundle.schema, self.users)
