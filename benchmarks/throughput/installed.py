"""TorchRec and FBGEMM in a folder of their own, which the benchmark alone sees."""

import subprocess
import sys
from pathlib import Path

PACKAGES = (
    # The rival and its kernels, then what they need.
    "torchrec==1.8.0",
    "fbgemm-gpu-cpu==1.8.0",
    "tensordict==0.15.3",
    "torchmetrics==1.0.3",
    "lightning-utilities==0.15.3",
    "pyre-extensions==0.0.32",
    "typing-inspect==0.9.0",
    "mypy-extensions==1.2.0",
    "tqdm==4.70.1",
    "orjson==3.13.0",
    "pyvers==0.2.3",
)
DONE = ".installed"


def torchrec_path(folder: Path) -> Path | None:
    """Install into the folder once; None where the package index has not got them.

    Without dependencies: TorchRec's own would pull another torch with gigabytes of CUDA code.
    """
    if not (folder / DONE).exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*command, "--target", str(folder), *PACKAGES],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.stderr.write(f"TorchRec cannot be installed, skipped:\n{done.stderr}\n")
            return None
        (folder / DONE).write_text("\n".join(PACKAGES))
    return folder.resolve()
