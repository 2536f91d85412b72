"""What replicas and the coordinator of their bundles tell each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serve.versions.tally import Tally


@dataclass(frozen=True)
class Report:
    """What a replica tells, about twice a second.

    Attributes:
        replica: names the process.
        deployment: what it is a replica of.
        held: the bundles that it has open and warm.
        failed: why it could not open others.
        champion: what it answers from; None for one that answers nobody.
        answers: what it has counted since its last report, by bundle.
        trials: what became of live requests that bundles answered unseen, by bundle.
        rate: requests per second that came to a gateway and were not answered from its cache.
    """

    replica: str
    deployment: str
    held: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    champion: str | None = None
    answers: Mapping[str, Tally] = field(default_factory=dict)
    trials: Mapping[str, Tally] = field(default_factory=dict)
    rate: float = 0.0


@dataclass(frozen=True)
class Orders:
    """What a replica is told.

    Attributes:
        champion: answers.
        wanted: bundles to have open, the most urgent first.
        on_trial: is to answer the latest requests once more, unseen; every replica holds it.
        challenger: answers beside the champion; every replica holds it.
        kept: bundles that may not be closed yet, as requests may still ask for them.
        status: what a person who asks is told.
        rate: requests per second that came to all gateways, those included that stages have not
            heard of, as they were degraded or refused.
    """

    champion: str
    wanted: tuple[str, ...]
    on_trial: str | None = None
    challenger: str | None = None
    kept: tuple[str, ...] = ()
    status: Mapping[str, Any] = field(default_factory=dict)
    rate: float = 0.0
