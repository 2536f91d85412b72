"""`[serve.runtime]`: how a replica runs the bundle's programs."""

from typing import Literal

from cluster.config import Section
from cluster.storage import Storage
from models.runtime.compiled import CompiledPrograms
from models.runtime.packages import Packages
from models.runtime.programs import ExportedPrograms, Programs

FOLDER = "compiled"


class RuntimeConfig(Section):
    """`[serve.runtime]`."""

    compile: Literal["auto", "always", "never"] = "auto"
    """Whether programs are compiled for the host's CPU, once per host and program (needs g++):
    "auto" answers with the exported programs until that is done, "always" starts no replica before,
    "never" leaves them as they were exported."""


def open_programs(
    config: RuntimeConfig, storage: Storage, num_threads: int, *, is_patient: bool = False
) -> Programs:
    """Return what opens a bundle's programs for so many threads; packages lie on this host.

    Args:
        config: whether they are compiled.
        storage: where packages are.
        num_threads: calls of a program at a time.
        is_patient: wait for what is compiled in the background.
    """
    if config.compile == "never":
        return ExportedPrograms()
    packages = Packages(storage.local / FOLDER, num_runners=num_threads)
    return CompiledPrograms(
        packages, must_compile=config.compile == "always", is_patient=is_patient
    )
