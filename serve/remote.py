"""The stages of the split topology: each runs on a replica of its own deployment."""

from typing import Any, cast

from ray.exceptions import RayTaskError

from serve.messages import Request
from serve.plan import Plan
from serve.stages import Candidates, Query, Ranked, Slate

# Plain pickle is enough for dataclasses of arrays and takes half the time of cloudpickle.
TRANSPORT = {"request_serialization": "pickle", "response_serialization": "pickle"}


class RemoteStages:
    """Runs each stage through a deployment's handle.

    Args:
        retriever, ranker, reranker: handles of the deployments that hold these stages.
    """

    def __init__(self, retriever: Any, ranker: Any, reranker: Any) -> None:
        self._hydrate = _method(retriever, "hydrate")
        self._retrieve = _method(retriever, "retrieve")
        self._rank = _method(ranker, "rank")
        self._rerank = _method(reranker, "rerank")

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Look up the user on a retriever replica."""
        return cast(Query, await _call(self._hydrate, request, plan))

    async def retrieve(self, query: Query) -> Candidates:
        """Collect candidates on a retriever replica."""
        return cast(Candidates, await _call(self._retrieve, query))

    async def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict on a ranker replica."""
        return cast(Ranked, await _call(self._rank, query, candidates))

    async def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Choose on a re-ranker replica."""
        return cast(Slate, await _call(self._rerank, query, ranked))


def _method(handle: Any, name: str) -> Any:
    return getattr(handle.options(**TRANSPORT), name)


async def _call(method: Any, *arguments: object) -> object:
    """Call a remote method; its exception comes back as it was raised there."""
    try:
        return await method.remote(*arguments)
    except RayTaskError as error:
        raise error.cause from error
