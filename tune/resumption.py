"""Whether Ray Tune's state of a sweep that was killed is good enough to go on from."""

import json
import logging

from pyarrow import fs

from train.checkpoints import Checkpoints

STATE_PREFIX = "experiment_state-"
TUNER = "tuner.pkl"

logger = logging.getLogger(__name__)


def can_go_on(experiment: Checkpoints) -> bool:
    """Tell whether the folder holds a state with trials; clear away what is left of another.

    Ray Tune writes the tuner before the first trial, and its states in place: killed in such a
    moment it has something that it would fail on.
    """
    paths = _files(experiment)
    if not paths:
        return False
    states = sorted(path for name, path in paths.items() if name.startswith(STATE_PREFIX))
    if TUNER in paths and states and _has_trials(experiment.filesystem, states[-1]):
        return True
    logger.warning("%s: killed before its first trial was noted, beginning anew", experiment.path)
    experiment.clear()
    return False


def _files(experiment: Checkpoints) -> dict[str, str]:
    selector = fs.FileSelector(experiment.path, allow_not_found=True)
    return {file.base_name: file.path for file in experiment.filesystem.get_file_info(selector)}


def _has_trials(filesystem: fs.FileSystem, path: str) -> bool:
    with filesystem.open_input_stream(path) as stream:
        content = stream.read()
    try:
        return bool(json.loads(content)["trial_data"])
    except (ValueError, KeyError, TypeError):
        return False
