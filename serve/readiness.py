"""What a replica says when it is ready: in Ray Serve's log, and as a line of JSON."""

import logging

from serve.logs import FIELDS

READY = "ready"
"""The message of the line."""
logger = logging.getLogger(__name__)
# Ray Serve shows this logger's lines in the replica's log.
shown = logging.getLogger("ray.serve")


def log_ready(deployment: str, bundle_id: str, *, bundle_s: float, warm_up_s: float) -> None:
    """Tell that a bundle is ready in this process.

    Args:
        deployment: the replica's.
        bundle_id: which bundle.
        bundle_s: seconds in which it and its programs were opened.
        warm_up_s: seconds of synthetic passes.
    """
    total_s = bundle_s + warm_up_s
    shown.info("%s: bundle %s ready in %.1f s", deployment, bundle_id, total_s)
    fields = {
        "deployment": deployment,
        "bundle": bundle_id,
        "bundle_s": round(bundle_s, 3),
        "warm_up_s": round(warm_up_s, 3),
    }
    logger.setLevel(logging.INFO)
    logger.info(READY, extra={FIELDS: fields})
