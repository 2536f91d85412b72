"""Retrieval for one request: the user's vector, every source, one merged list."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from features.assembly import Inputs
from models.bundle import Bundle
from retrieval.candidates import Retrieved, UserQuery, permitted_rows
from retrieval.config import RetrievalConfig
from retrieval.indexes import open_index
from retrieval.merge import merge
from retrieval.popularity import PopularLists
from retrieval.sources.fresh import Fresh
from retrieval.sources.popular import Popular
from retrieval.sources.source import Source
from retrieval.sources.two_tower import TwoTower
from retrieval.user_tower import UserTower

NOTHING = np.zeros(0, np.int64)


class Retriever:
    """Asks the sources of one bundle.

    Args:
        tower: gives the user's vector.
        vectors: item vectors (items + 1, dim).
        sources: in order of precedence, with their quotas.
    """

    def __init__(
        self,
        tower: UserTower,
        vectors: npt.NDArray[np.float32],
        sources: Sequence[tuple[Source, int]],
    ) -> None:
        self.tower = tower
        self.vectors = vectors
        self.sources = [source for source, quota in sources if quota]
        self.quotas = [quota for _, quota in sources if quota]

    @classmethod
    def open(cls, bundle: Bundle, config: RetrievalConfig) -> "Retriever":
        """Memory-map the bundle's index and lists."""
        vectors = bundle.array("item_vectors")
        index = open_index(bundle.folder / "index")
        popular = Popular(PopularLists.open(bundle.folder / "popular"))
        fresh = Fresh(bundle.catalogue, config.fresh.max_age)
        quotas = config.quotas
        return cls(
            UserTower(bundle.program("user_tower")),
            vectors,
            [
                (TwoTower(index, vectors), quotas.two_tower),
                (popular, quotas.popular),
                (fresh, quotas.fresh),
            ],
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The sources' names, indexed by `Retrieved.source`."""
        return tuple(source.name for source in self.sources)

    def retrieve(
        self,
        inputs: Inputs,
        *,
        now_ms: int,
        excluded: npt.NDArray[np.int64] = NOTHING,
        allowed: npt.NDArray[np.int64] | None = None,
    ) -> Retrieved:
        """Return the candidates of one request, none of them excluded.

        Args:
            inputs: the assembler's user inputs of one row.
            now_ms: the request's instant; items published later are not fresh.
            excluded: item rows never to be returned.
            allowed: the only item rows to be returned; None allows all.
        """
        query = UserQuery(
            vector=self.tower.vectors(inputs)[0],
            context_codes=inputs["context_codes"][0],
            permitted=permitted_rows(len(self.vectors), excluded, allowed),
            now_ms=now_ms,
        )
        return self.merged(query)

    def merged(self, query: UserQuery) -> Retrieved:
        """Ask every source for as many as all may bring, so that each can fill for the others."""
        total = sum(self.quotas)
        found = [source.candidates(query, total) for source in self.sources]
        chosen, source = merge(found, self.quotas)
        similarity = np.take(self.vectors, chosen.rows, axis=0) @ query.vector
        return Retrieved(
            chosen.rows,
            chosen.scores,
            source,
            similarity,
            self.names,
            vector=query.vector,
            offers=tuple(found),
        )
