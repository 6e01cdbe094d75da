"""A Python with Groww's own SDK, apart from ours: it pins older pandas, protobuf and certifi."""

import importlib.util
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

PYTHON = "GROWW_SDK_PYTHON"
_INSTALL_SECONDS = 600


@pytest.fixture(scope="session")
def groww_sdk(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a Python that has growwapi; skipped with the reason where it cannot be had.

    $GROWW_SDK_PYTHON names one that exists already; otherwise a virtual environment is made
    with `pip install growwapi`, once a test session.
    """
    if named := os.environ.get(PYTHON):
        return named
    if importlib.util.find_spec("growwapi"):
        return sys.executable
    home = tmp_path_factory.mktemp("groww-sdk")
    # Our own pip installs into it, and compiles nothing: half of the time would go into that.
    own_pip = importlib.util.find_spec("pip") is not None
    venv.create(home, with_pip=not own_pip)
    python = home / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name
    pip = [sys.executable, "-m", "pip", "--python", python] if own_pip else [python, "-m", "pip"]
    command = [*map(str, pip), "install", "--quiet", "--no-compile", "growwapi"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"growwapi could not be installed within {_INSTALL_SECONDS} seconds")
    if done.returncode:
        pytest.skip(f"growwapi could not be installed: {done.stderr.strip().splitlines()[-1:]}")
    return str(python)
