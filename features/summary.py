"""What a preparation prints: sizes, splits, what was left out, the inputs."""

from features.config import Kind, Owner
from features.examples import Examples
from features.timelines import SPLITS


def summary(examples: Examples, seconds: float) -> str:
    """Describe prepared data in a few lines."""
    schema, facts = examples.schema, examples.manifest["dataset"]
    split = facts["split"]
    sizes = ", ".join(f"{name} {split[name]:,}" for name in SPLITS)
    kinds: tuple[Kind, ...] = ("categorical", "multi", "numeric")
    owners: tuple[Owner, ...] = ("user", "item", "context")
    inputs = [
        f"{owner} " + "/".join(str(len(schema.select(owner, kind))) for kind in kinds)
        for owner in owners
    ]
    bases = [f"{t.name} {b:.4g}" for t, b in zip(schema.tasks, schema.base_rates, strict=True)]
    left_out = {"exact duplicates": facts["duplicates"], **facts["rejected"]}
    dropped = [f"{count:,} {reason}" for reason, count in left_out.items() if count]
    lines = {
        "data": f"{facts['events']:,} events, {facts['users']:,} users, {facts['items']:,} items",
        "split": f"{split['kind']}: {sizes}",
        "left out": ", ".join(dropped) or "nothing",
        "inputs": f"{', '.join(inputs)} (categorical/multi-valued/numeric)",
        "rates of": ", ".join(entity.name for entity in schema.entities) or "nothing",
        "base rates": ", ".join(bases),
        "schema": schema.fingerprint,
        "written to": f"{examples.folder} in {seconds:.1f} s",
    }
    return "\n".join(f"{name:<11} {text}" for name, text in lines.items())
