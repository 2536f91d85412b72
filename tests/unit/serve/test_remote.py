"""The split topology's stages over fake handles."""

import asyncio
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from serve.messages import Request, RequestError
from serve.plan import FULL
from serve.remote import TRANSPORT, RemoteStages


class FakeMethod:
    """A handle's method that answers with its own name, or raises."""

    def __init__(self, answer: str, error: Exception | None) -> None:
        self.answer = answer
        self.error = error

    async def remote(self, *arguments: object) -> str:
        """Answer."""
        if self.error is not None:
            raise self.error
        return f"{self.answer}/{len(arguments)}"


class FakeHandle:
    """A deployment's handle."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.error = error

    def options(self, **options: str) -> "FakeHandle":
        """Check the transport."""
        assert options == TRANSPORT
        return self

    def __getattr__(self, method: str) -> FakeMethod:
        return FakeMethod(f"{self.name}.{method}", self.error)


def stages(error: Exception | None = None) -> RemoteStages:
    return RemoteStages(*(FakeHandle(name, error) for name in ("retriever", "ranker", "reranker")))


def test_each_stage_runs_on_its_own_deployment() -> None:
    remote, anything = stages(), Request(user_id=1)

    async def run() -> list[Any]:
        query = await remote.hydrate(anything, FULL)
        candidates = await remote.retrieve(query)
        ranked = await remote.rank(query, candidates)
        return [query, candidates, ranked, await remote.rerank(query, ranked)]

    answers = ["retriever.hydrate/2", "retriever.retrieve/1", "ranker.rank/2", "reranker.rerank/2"]
    assert asyncio.run(run()) == answers


def test_an_error_comes_back_as_it_was_raised() -> None:
    cause = RequestError(("filters", "planet"), "no such attribute")
    with pytest.raises(RequestError) as raised:
        asyncio.run(stages(RayTaskError("hydrate", "", cause)).hydrate(Request(user_id=1), FULL))
    assert raised.value is cause
