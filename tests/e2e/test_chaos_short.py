"""Some chaos: the short forms of `python benchmarks/chaos.py --minutes 5 --seed 7 [--groww]`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from running_system import environment

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_minute_of_chaos_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    chaos(tmp_path, "--minutes", "1.25", "--symbols", "8")


def test_chaos_at_a_groww_loses_and_doubles_nothing_and_passes_no_limit(tmp_path: Path) -> None:
    run = chaos(
        tmp_path, "--groww", "--minutes", "0.6", "--symbols", "6", "--pace", "20", "--gap", "2"
    )
    refused = {name: counted["refused"] for name, counted in run["limits"].items()}
    assert refused == dict.fromkeys(refused, 0)
    assert run["limits"]["orders"]["windows"][0]["highest"] > 0


def chaos(directory: Path, *arguments: str) -> dict[str, Any]:
    """The figures of a run that found nothing and proved something."""
    figures = directory / "chaos.json"
    command = [sys.executable, str(BENCHMARKS / "chaos.py"), "--seed", "7", *arguments]
    done = subprocess.run(
        [*command, "--json", str(figures)],
        capture_output=True, text=True, timeout=600, env=environment(), cwd=directory,
    )  # fmt: skip
    assert figures.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    run = json.loads(figures.read_text())
    found = {kind: run[kind] for kind in ("lost", "doubled", "orphan", "breach")}
    assert found == dict.fromkeys(found, 0), json.dumps(run["violations"], indent=1)
    assert run["shortfalls"] == []
    assert done.returncode == 0
    assert run["orders"] > 0
    assert run["audits"] > 0
    return dict(run)
