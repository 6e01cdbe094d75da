"""Sets played by workers: the same as backtests, each once, kept on disk as they finish."""

import json
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweep_world import CAPITAL, ground, weekdays

from hftray.backtest.foresight import Ballot, VoteCache
from hftray.backtest.players import Alone, Player, explore
from hftray.backtest.search import Method, Search
from hftray.backtest.sweep import (
    Ground,
    Result,
    metrics_of,
    ranked,
    require_metric,
    sharpe_variance,
)
from hftray.backtest.trial_file import TrialFile
from hftray.core.candles import Candles
from hftray.core.errors import ConfigError, DataError
from hftray.strategies.strategy import Strategy

PARAMS = ("ma_crossover.short_period=5:11:3", "exits.trailing_stop_percent=0.5,1")
STUDY = {"metric": "sharpe", "space": list(PARAMS)}


def sweep(world: Ground, file: TrialFile | None = None, metric: str = "net_pnl") -> list[Result]:
    found: list[Result] = []

    def take(results: Sequence[Result]) -> None:
        found.extend(results)
        if file is not None:
            file.add(0, results)

    known = [] if file is None else file.folds.get(0, [])
    search = Search(world.space, Method.GRID, known=[(r.chosen, r.figures[metric]) for r in known])
    explore(search, Alone(world), metric, take)
    return found


def test_a_worker_plays_a_set_as_a_backtest_of_its_own_would() -> None:
    """Whatever it played before: what a worker keeps changes no result."""
    world = ground(*PARAMS)
    results = sweep(world)
    assert len(results) == 6
    traded = 0
    for result in results:
        metrics = metrics_of(world.play(result.chosen), CAPITAL)
        assert result.figures["net_pnl"] == float(metrics.net_pnl)
        assert result.figures["sharpe"] == metrics.sharpe
        traded += metrics.trades
    assert traded > 20
    assert len({result.figures["net_pnl"] for result in results}) > 1  # the values do matter


class Counted:
    """How often votes are computed: over a whole history by kind, and one by one on a buffer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.histories: Counter[str] = Counter()
        self.buffers = 0
        monkeypatch.setattr(Strategy, "survey", self._survey(Strategy.survey))
        monkeypatch.setattr(Strategy, "vote", self._vote(Strategy.vote))

    def _survey(self, survey: Callable[..., Any]) -> Callable[..., Any]:
        def counted(strategy: Strategy[Any], *arguments: Any) -> Any:
            self.histories[type(strategy).__name__] += 1
            return survey(strategy, *arguments)

        return counted

    def _vote(self, vote: Callable[..., int]) -> Callable[..., int]:
        def counted(strategy: Strategy[Any], candles: Candles) -> int:
            self.buffers += 1
            return vote(strategy, candles)

        return counted


def test_votes_of_a_strategy_that_did_not_change_are_not_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = Counted(monkeypatch)
    player = Player(ground("rsi.period=5:30"))
    player(None, [{"rsi.period": 14}])
    assert counted.histories.total() == 7  # eight voters, one of which surveys in its own way
    player(None, [{"rsi.period": period} for period in (10, 14, 10, 14)])
    assert counted.histories.total() == 8
    assert counted.histories["RsiReversion"] == 2


def test_a_doubtful_vote_is_taken_from_the_buffer_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    # A long SuperTrend has not forgotten where the buffer began.
    player = Player(ground("supertrend.period=10:100:10", days=30))
    first, _ = player(None, [{"supertrend.period": 100}])
    taken = counted.buffers
    assert taken > 0
    again, _ = player(None, [{"supertrend.period": 100}])
    assert counted.buffers == taken
    assert again == first


def test_a_worker_keeps_votes_up_to_a_limit_and_drops_the_least_used() -> None:
    def ballot(rows: int) -> Ballot:
        return Ballot(np.arange(rows), *np.ones((2, rows), dtype=np.int8))

    cache = VoteCache(limit=3 * ballot(100).size)
    for number in range(1_000):
        cache.keep(number, ballot(100))
        assert cache.find(0) is not None  # in use all the time
        assert cache.size <= 3 * ballot(100).size
    assert [number for number in range(1_000) if cache.find(number)] == [0, 998, 999]
    cache.keep("huge", ballot(301))
    assert (cache.size, cache.find("huge")) == (0, None)


def test_histories_and_results_travel() -> None:
    world = ground(*PARAMS)
    there = pickle.loads(pickle.dumps(Player(world)))
    chosen = {"ma_crossover.short_period": 5, "exits.trailing_stop_percent": 1.0}
    assert there(None, [chosen])[0] == Player(world)(None, [chosen])[0]


def test_a_window_plays_its_days_with_what_lies_before_as_warm_up() -> None:
    world = ground(*PARAMS, days=12, warm_days=2)
    days = weekdays(12)
    assert world.days() == days[2:]
    part = world.within((days[6], days[8]))
    assert part.days() == days[6:9]
    (history,) = part.histories
    # 375 candles of warm-up: the five days before.
    assert history.start == 375
    assert len(history.candles) == 375 + 3 * 75
    assert [moment.date() for moment, _ in part.play({}).curve] == days[6:9]


def test_a_window_never_plays_the_warm_up() -> None:
    world = ground(*PARAMS, days=6, warm_days=2)
    days = weekdays(6)
    assert world.within((days[0], days[3])).days() == days[2:4]


def test_a_symbol_without_candles_in_the_window_is_left_out() -> None:
    late, early = ground(*PARAMS, days=12), ground(*PARAMS, days=4, symbols=("BBB",))
    both = Ground((*late.histories, *early.histories), late.space, late.charges, CAPITAL, 0.0)
    days = weekdays(12)
    assert [h.symbol for h in both.within((days[2], days[3])).histories] == ["AAA", "BBB"]
    assert [h.symbol for h in both.within((days[6], days[8])).histories] == ["AAA"]


def test_other_candles_another_fingerprint() -> None:
    same, other = ground(*PARAMS), ground(*PARAMS, seed=8)
    assert ground(*PARAMS).fingerprint() == same.fingerprint() != other.fingerprint()


def test_the_best_come_first_and_undefined_ones_not_at_all() -> None:
    def result(period: int, sharpe: float | None, drop: float) -> Result:
        return Result({"rsi.period": period}, {"sharpe": sharpe, "max_drawdown_percent": drop})

    results = [result(5, 1.0, 3.0), result(6, None, 0.0), result(7, 2.0, 4.0), result(4, 1.0, 5.0)]
    assert [r.chosen["rsi.period"] for r in ranked(results, "sharpe")] == [7, 4, 5]
    lower = [r.chosen["rsi.period"] for r in ranked(results, "max_drawdown_percent")]
    assert lower == [6, 5, 7, 4]
    assert sharpe_variance(results) == pytest.approx(1 / 3 / 252)
    assert sharpe_variance(results[:2]) == 0.0


def test_an_unknown_metric_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"--metric sharp: unknown; known are sharpe, sortino"):
        require_metric("sharp")


# The file of results


def test_a_study_broken_off_anywhere_is_taken_up_without_repeating_a_set(tmp_path: Path) -> None:
    world = ground(*PARAMS, days=5)
    path = tmp_path / "trials.jsonl"
    whole = TrialFile(path, STUDY, resume=False)
    everything = sweep(world, whole)
    whole.close()
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 6
    path.write_text("".join(lines[:4]) + lines[4][:20])  # a crash in the middle of a line
    rest = TrialFile(path, STUDY, resume=True)
    assert len(rest.folds[0]) == 3
    played = sweep(world, rest)
    rest.close()
    assert len(played) == 3
    after = [json.loads(line) for line in path.read_text().splitlines()]
    assert {json.dumps(row["set"]) for row in after[1:]} == {
        json.dumps(result.chosen) for result in everything
    }
    assert ranked(rest.folds[0], "net_pnl") == ranked(everything, "net_pnl")


def test_a_file_with_results_is_only_taken_up_on_request(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    file = TrialFile(path, STUDY, resume=False)
    file.add(0, [Result({"rsi.period": 5}, {"sharpe": None})])
    file.close()
    before = path.read_text()
    with pytest.raises(ConfigError, match="holds 1 finished sets; add --resume"):
        TrialFile(path, STUDY, resume=False)
    with pytest.raises(ConfigError, match='begun with metric "sharpe", not "calmar"'):
        TrialFile(path, STUDY | {"metric": "calmar"}, resume=True)
    assert path.read_text() == before


def test_what_is_no_file_of_results_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text("timestamp,open\n")
    with pytest.raises(DataError, match="line 1: not a file of results"):
        TrialFile(path, STUDY, resume=True)
    path.write_text(json.dumps({"study": STUDY}) + '\n{"fold": 0}\n')
    with pytest.raises(DataError, match="line 2: not a result"):
        TrialFile(path, STUDY, resume=True)


def test_resuming_where_nothing_is_begins(tmp_path: Path) -> None:
    file = TrialFile(tmp_path / "new" / "trials.jsonl", STUDY, resume=True)
    file.close()
    assert file.folds == {}
    assert json.loads(file.path.read_text()) == {"study": STUDY}
