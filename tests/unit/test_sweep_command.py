"""`hftray sweep` and `hftray walk-forward` in one process, as somebody types them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sweep_world import ground, write_candles
from typer.testing import CliRunner, Result

from hftray.commands import study
from hftray.commands.sweep import commands

RUNNER = CliRunner()
PARAMS = (
    "--param", "ma_crossover.short_period=5:11:3",
    "--param", "exits.trailing_stop_percent=0.5,1",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    histories = ground("rsi.period=5", days=9, warm_days=0, symbols=("AAA", "BBB")).histories
    return write_candles(tmp_path_factory.mktemp("candles"), histories)


@pytest.fixture
def call(data: Path, tmp_path: Path) -> Any:
    def call(command: str, *more: str) -> Result:
        arguments = [command, "--symbols", "AAA", "--data", str(data), "--workers", "1"]
        return RUNNER.invoke(commands, [*arguments, "--data-dir", str(tmp_path), *more])

    return call


def test_a_sweep_finds_the_best_of_its_sets(call: Any) -> None:
    result = call("sweep", *PARAMS, "--grid", "--metric", "net_pnl", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["sets"] == answer["played"] == len(answer["best"]) == 6
    pnls = [best["figures"]["net_pnl"] for best in answer["best"]]
    assert pnls == sorted(pnls, reverse=True)
    assert pnls[0] > pnls[-1]
    rows = [json.loads(line) for line in Path(answer["file"]).read_text().splitlines()]
    assert {json.dumps(row["set"]) for row in rows[1:]} == {
        json.dumps(best["set"]) for best in answer["best"]
    }
    luck = answer["deflated_sharpe"]
    assert luck["trials"] == 6
    assert luck["sharpe"] == pytest.approx(answer["best"][0]["figures"]["sharpe"])


def test_people_get_a_table_and_a_warning_about_luck(call: Any) -> None:
    result = call("sweep", *PARAMS, "--random", "4", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "4 sets, 4 of them played" in result.stdout
    assert "seed 3" in result.stdout
    assert "deflated Sharpe ratio" in result.stdout


def test_what_was_finished_is_not_played_again(call: Any) -> None:
    first = json.loads(call("sweep", *PARAMS, "--random", "4", "--json").stdout)
    refused = call("sweep", *PARAMS, "--random", "6", "--json")
    assert refused.exit_code == 1
    assert "holds 4 finished sets; add --resume" in refused.output
    more = json.loads(call("sweep", *PARAMS, "--random", "6", "--resume", "--json").stdout)
    assert (first["played"], more["played"], more["sets"]) == (4, 2, 6)
    assert first["file"] == more["file"]


def test_another_study_has_another_file(call: Any, tmp_path: Path) -> None:
    one = json.loads(call("sweep", *PARAMS, "--random", "1", "--json").stdout)
    two = json.loads(call("sweep", *PARAMS, "--random", "1", "--json", "--seed", "1").stdout)
    assert one["file"] != two["file"]
    named = ("--out", str(tmp_path / "mine"), "--random", "1", "--json")
    assert call("sweep", *PARAMS, *named).exit_code == 0
    other = call("sweep", *PARAMS, *named, "--seed", "1", "--resume")
    assert other.exit_code == 1
    assert "was begun with seed 0, not 1" in other.output


def test_ctrl_c_keeps_what_is_finished(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    explore = study.explore

    def interrupted(search: Any, crew: Any, metric: str, found: Any, **more: Any) -> None:
        seen = 0

        def found_some(results: Any) -> None:
            nonlocal seen
            found(results)
            seen += len(results)
            if seen >= 1:
                raise KeyboardInterrupt

        explore(search, crew, metric, found_some, **more)

    monkeypatch.setattr(study, "explore", interrupted)
    stopped = call("sweep", *PARAMS, "--grid", "--json")
    assert stopped.exit_code == 130
    answer = json.loads(stopped.stdout)
    assert answer["interrupted"]
    assert 1 <= answer["sets"] < 6
    monkeypatch.setattr(study, "explore", explore)
    rest = json.loads(call("sweep", *PARAMS, "--grid", "--json", "--resume").stdout)
    assert rest["played"] == 6 - answer["sets"]
    assert rest["sets"] == 6


def test_a_walk_forward_tells_what_each_fold_kept(call: Any) -> None:
    folds = ("--train", "3", "--test", "2", "--metric", "net_pnl")
    result = call("walk-forward", *PARAMS, "--grid", *folds, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [fold["fold"] for fold in answer["folds"]] == [1, 2, 3]
    assert len(answer["equity_curve"]) == 6
    assert answer["equity_curve"][-1]["equity"] == answer["final_capital"]
    assert answer["folds"][-1]["capital"] == answer["final_capital"]
    assert answer["sets"] == answer["played"] == 18
    again = json.loads(call("walk-forward", *PARAMS, "--grid", *folds, "--json", "--resume").stdout)
    assert again["played"] == 0
    assert again["folds"] == answer["folds"]
    shown = call("walk-forward", *PARAMS, "--grid", *folds, "--resume")
    assert "Out of sample  6 sessions" in shown.stdout


def test_several_symbols_share_one_account(call: Any) -> None:
    result = call("sweep", "--symbols", "AAA,BBB", *PARAMS, "--random", "1", "--json")
    both = json.loads(result.stdout)
    assert both["symbols"] == ["AAA", "BBB"]
    one = json.loads(call("sweep", *PARAMS, "--random", "1", "--json").stdout)
    trades = [answer["best"][0]["figures"]["trades"] for answer in (one, both)]
    assert trades[0] < trades[1]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ((*PARAMS,), "choose one of --grid, --random N and --tpe N"),
        ((*PARAMS, "--grid", "--tpe", "5"), "choose one of"),
        ((*PARAMS, "--random", "0"), "--random: 0 sets"),
        ((*PARAMS, "--grid", "--metric", "profit"), "--metric profit: unknown"),
        (("--param", "rsi.perod=5", "--grid"), "rsi has weight, period"),
        (("--param", "rsi.oversold=20:30", "--grid"), "a grid needs a step"),
        ((*PARAMS, "--grid", "--symbols", "CCC"), "CCC: known are AAA, BBB"),
        ((*PARAMS, "--grid", "--from", "2030-01-01", "--to", "2030-02-01"), "no candles of AAA"),
        (("--param", "rsi.period=5", "--strategy", "macd", "--grid"), "'rsi' is not varied"),
    ],
)
def test_a_mistake_is_told_before_anything_starts(
    call: Any, more: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    result = call("sweep", *more)
    assert result.exit_code == 1
    assert says in result.output
    assert not (tmp_path / "sweeps").exists()


def test_too_few_sessions_for_a_walk(call: Any) -> None:
    result = call("walk-forward", *PARAMS, "--grid")
    assert result.exit_code == 1
    assert "--train 60: the data has 9 sessions" in result.output


def test_ray_is_started_only_where_it_saves_time() -> None:
    world = ground("rsi.period=5", days=3)
    assert study.worker_count(None, None, world, 1) == 1
    assert study.worker_count(None, None, world, 10**9) == len(os.sched_getaffinity(0))
    assert study.worker_count(3, None, world, 1) == 3
    assert study.worker_count(None, "auto", world, 1) is None  # as many as the cluster has
