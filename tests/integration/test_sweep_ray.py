"""Sweeps over a real Ray: the results of one process, every set once, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from sweep_world import ground, write_candles

from hftray.actors.workers import Workers
from hftray.backtest.players import Alone, Player, Players, explore
from hftray.backtest.search import Method, Search
from hftray.backtest.sweep import Ground, Result, ranked
from hftray.commands.study import ray_cluster
from hftray.core.errors import NotFound, RetryError

PARAMS = ("ma_crossover.short_period=5:14", "exits.trailing_stop_percent=0.5:1.5:0.25")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not know this file
COMMAND = [sys.executable, "-c", "from hftray.commands.sweep import commands; commands()"]


class Recorded(Player):
    """Writes down each time one is made, and ends its process on one set, once."""

    def __init__(self, world: Ground, notes: str, deadly: int = 0) -> None:
        super().__init__(world)
        self._notes, self._deadly = notes, deadly
        with open(notes, "a") as file:
            file.write(f"{os.getpid()}\n")

    def __call__(self, window: Any, sets: Any) -> Any:
        died = Path(f"{self._notes}.died")
        if any(s["ma_crossover.short_period"] == self._deadly for s in sets) and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(window, sets)


class Refusing(Player):
    def __call__(self, window: Any, sets: Any) -> Any:
        raise NotFound("no such thing")


class Deadly(Player):
    def __call__(self, window: Any, sets: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture(scope="module")
def two_cores() -> Iterator[None]:
    with ray_cluster(None, 2):
        yield


def results_of(world: Ground, players: Players) -> list[Result]:
    found: list[Result] = []
    explore(Search(world.space, Method.GRID), players, "net_pnl", found.extend)
    return ranked(found, "net_pnl")


def test_workers_find_what_one_process_finds_and_load_the_data_once(
    two_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ground(*PARAMS, days=6)
    stored: list[Any] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda value: stored.append(value) or put(value))
    notes = tmp_path / "notes"
    found = results_of(world, Workers(Recorded, 2, world, str(notes)))
    assert len(found) == 50
    assert found == results_of(world, Alone(world))
    assert [value for value in stored if isinstance(value, Ground)] == [world]
    made = notes.read_text().split()
    assert len(made) == len(set(made)) <= 2


def test_a_task_carries_references_and_its_sets_and_no_data(
    two_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ground(*PARAMS, days=6)
    workers = Workers(Player, 2, world)
    calls: list[Any] = []
    monkeypatch.setattr(workers, "_task", Noted(workers._task, calls))
    explore(Search(world.space, Method.RANDOM, 10), workers, "net_pnl", lambda results: None)
    assert calls
    for shell, shared, window, sets in calls:
        assert all(isinstance(reference, ray.ObjectRef) for reference in shared)
        assert len(ray.cloudpickle.dumps((shell, window, sets))) < 2_000
    assert len(ray.cloudpickle.dumps(world)) > 20_000


class Noted:
    """A remote function that writes down what it is called with."""

    def __init__(self, task: Any, calls: list[Any]) -> None:
        self._task, self._calls = task, calls

    def remote(self, *arguments: Any) -> Any:
        self._calls.append(arguments)
        return self._task.remote(*arguments)


def test_a_killed_worker_costs_no_set(two_cores: None, tmp_path: Path) -> None:
    world = ground(*PARAMS, days=4)
    notes = tmp_path / "notes"
    found = results_of(world, Workers(Recorded, 2, world, str(notes), 9))
    assert (tmp_path / "notes.died").exists()
    assert found == results_of(world, Alone(world))


def test_what_a_worker_refuses_on_purpose_is_raised_as_it_is(two_cores: None) -> None:
    world = ground(*PARAMS, days=4)
    workers = Workers(Refusing, None, world)
    workers.submit(None, [{}])
    with pytest.raises(NotFound, match=r"^no such thing$"):
        workers.take()


def test_ctrl_c_keeps_what_is_finished_and_resume_plays_the_rest(tmp_path: Path) -> None:
    world = ground("rsi.period=5", days=8, warm_days=0)
    data, out = write_candles(tmp_path / "candles", world.histories), tmp_path / "out"
    arguments = ["sweep", "--symbols", "AAA", "--data", str(data), "--out", str(out), "--json"]
    arguments += ["--data-dir", str(tmp_path), "--workers", "2", "--metric", "net_pnl"]
    arguments += ["--param", "exits.trailing_stop_percent=0.5:1.5"]
    endless = [*COMMAND, *arguments, "--random", "1000000"]
    process = subprocess.Popen(endless, stdout=subprocess.PIPE, text=True)
    trials = out / "trials.jsonl"
    while process.poll() is None and (not trials.exists() or len(_lines(trials)) < 10):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=120)
    first = json.loads(stdout)
    assert process.returncode == 130
    assert first["interrupted"]
    assert first["sets"] == len(_lines(trials)) - 1 >= 9
    more = [*COMMAND, *arguments, "--random", str(first["sets"] + 30), "--resume"]
    rest = subprocess.run(more, stdout=subprocess.PIPE, text=True, check=True)
    answer = json.loads(rest.stdout)
    assert (answer["played"], answer["interrupted"]) == (30, False)
    rows = [json.loads(line) for line in _lines(trials)[1:]]
    assert len({json.dumps(row["set"]) for row in rows}) == len(rows) == answer["sets"]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_a_strategy_of_ones_own_is_swept_on_every_worker(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
    own = tmp_path / "donchian.py"
    own.write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    data = write_candles(tmp_path / "candles", ground("rsi.period=5", days=8).histories)
    arguments = ["sweep", "--symbols", "AAA", "--data", str(data), "--metric", "net_pnl", "--json"]
    arguments += ["--strategy", "donchian", "--strategy-file", str(own), "--grid"]
    arguments += ["--param", "donchian.period=10:40:10", "--data-dir", str(tmp_path)]
    answers = []
    for number in ("1", "2"):
        command = [*COMMAND, *arguments, "--workers", number, "--out", str(tmp_path / number)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        answers.append(json.loads(run.stdout))
    assert answers[0]["best"] == answers[1]["best"]
    assert len({best["figures"]["net_pnl"] for best in answers[0]["best"]}) > 1


def test_sets_that_kill_every_worker_end_the_sweep(two_cores: None) -> None:
    workers = Workers(Deadly, 1, ground(*PARAMS, days=4))
    workers.submit(None, [{}])
    with pytest.raises(RetryError, match="a worker died"):
        workers.take()
