"""What was seen in the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from retrieval.registry import Standing


@dataclass(frozen=True)
class Sighting:
    """Which bundles are to be used.

    Attributes:
        standing: what the registry says.
        unsound: what is wrong with those whose files cannot be used.
    """

    standing: Standing
    unsound: Mapping[str, str] = field(default_factory=dict)
