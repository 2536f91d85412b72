"""What every result says of its making: the command, the hardware and the versions."""

import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.name
CPU_INFO = Path("/proc/cpuinfo")
FOREIGN_FOLDERS = re.compile(r"(?<![\w.~:/-])(?:file://)?/(?:[^\s/=]+/)*")
ELSEWHERE = ".../"


def facts(*packages: str) -> dict[str, Any]:
    """Return the fields for a result of this process's command that depends on the packages."""
    return {
        "command": command_of(sys.argv),
        "hardware": {"cpu": cpu_model(), "cores": os.cpu_count(), "machine": platform.machine()},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }


def command_of(arguments: Sequence[str]) -> str:
    """Return the command line that anybody may type: modules by name, no absolute paths."""
    script = Path(arguments[0]).with_suffix("").parts
    module = ".".join(script[script.index(FOLDER) :]) if FOLDER in script else script[-1]
    return shlex.join(["python", "-m", module, *map(portable, arguments[1:])])


def portable(argument: str) -> str:
    """Shorten absolute paths, which mean nothing on another machine, to their last part."""
    return FOREIGN_FOLDERS.sub(ELSEWHERE, argument)


def cpu_model() -> str:
    """Return the processor's name, its architecture where the system does not tell."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
