"""The stages in this process: plain classes, run in threads off the event loop."""

from serve.hydration import Hydrator
from serve.messages import Request
from serve.plan import Plan
from serve.ranking import Ranker
from serve.reranking import Reranker
from serve.sources import Sources
from serve.stages import Candidates, Query, Ranked, Slate
from serve.threads import Threads


class LocalStages:
    """Runs stages of one bundle.

    Args:
        hydrator, sources, ranker, reranker: the stages; None for those that lie elsewhere.
        threads: run them.
    """

    def __init__(
        self,
        hydrator: Hydrator | None,
        sources: Sources | None,
        *,
        ranker: Ranker | None,
        reranker: Reranker | None,
        threads: Threads,
    ) -> None:
        self.hydrator = hydrator
        self.sources = sources
        self.ranker = ranker
        self.reranker = reranker
        self.threads = threads

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Look up the user and assemble the model inputs."""
        assert self.hydrator is not None, "elsewhere"
        return await self.threads.run(plan, self.hydrator.hydrate, request, plan=plan)

    async def retrieve(self, query: Query) -> Candidates:
        """Collect candidates from the sources and filter them."""
        assert self.sources is not None, "elsewhere"
        return await self.threads.run(query.plan, self.sources.retrieve, query)

    async def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict every task for every candidate, or keep their order if that is the plan."""
        assert self.ranker is not None, "elsewhere"
        if not query.plan.is_ranked:
            return Ranked.unranked(candidates)
        ranker = self.ranker
        if ranker.max_batch == 1:
            return await self.threads.run(query.plan, ranker.rank, query, candidates)
        ask, most = (query, candidates), ranker.max_batch
        return await self.threads.run_jointly(query.plan, ranker.rank_together, ask, most=most)

    async def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Choose and order what is shown."""
        assert self.reranker is not None, "elsewhere"
        return await self.threads.run(query.plan, self.reranker.rerank, query, ranked)
