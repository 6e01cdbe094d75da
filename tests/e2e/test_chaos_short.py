"""A minute of chaos: the short form of `python benchmarks/chaos.py --minutes 5 --seed 7`."""

import json
import subprocess
import sys
from pathlib import Path

from running_system import environment

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_minute_of_chaos_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    figures = tmp_path / "chaos.json"
    arguments = ["--minutes", "1.25", "--seed", "7", "--symbols", "8", "--json", str(figures)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "chaos.py"), *arguments],
        capture_output=True, text=True, timeout=600, env=environment(), cwd=tmp_path,
    )  # fmt: skip
    assert figures.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    run = json.loads(figures.read_text())
    found = {kind: run[kind] for kind in ("lost", "doubled", "orphan", "breach")}
    assert found == dict.fromkeys(found, 0), json.dumps(run["violations"], indent=1)
    assert run["shortfalls"] == []
    assert done.returncode == 0
    assert run["orders"] > 0
    assert run["audits"] > 0
