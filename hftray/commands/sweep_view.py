"""Sweeps and walk-forwards on a terminal, and as JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from hftray.backtest.deflated import Deflated
from hftray.backtest.search import Method
from hftray.backtest.sweep import Result, figures_of, ranked
from hftray.backtest.walk_forward import Played, WalkForward
from hftray.commands.study import Study
from hftray.core.metrics import TRADING_DAYS_A_YEAR
from hftray.terminal import console

SHOWN = 10
DASH = "—"

# Beside the metric that was optimised.
BESIDE = ("trades", "total_return_percent", "max_drawdown_percent", "sharpe")
TITLES = {"total_return_percent": "return %", "max_drawdown_percent": "drawdown %"}


def sweep_answer(
    study: Study, results: Sequence[Result], luck: Deflated | None, *, interrupted: bool
) -> dict[str, Any]:
    """A sweep as JSON values; ratios are annual."""
    best = ranked(results, study.plan.metric)
    return {
        **_common(study, interrupted=interrupted),
        "sets": len(results),
        "undefined": len(results) - len(best),
        "best": [{"set": r.chosen, "figures": r.figures} for r in best[:SHOWN]],
        "deflated_sharpe": _luck(luck),
    }


def walk_answer(study: Study, walk: WalkForward | None) -> dict[str, Any]:
    """A walk-forward as JSON values; None is one that was interrupted. Ratios are annual."""
    answer = _common(study, interrupted=walk is None)
    if walk is None:
        return answer
    return {
        **answer,
        "sets": walk.tried,
        "folds": [_fold(study.plan.metric, played) for played in walk.folds],
        "out_of_sample": figures_of(walk.metrics),
        "final_capital": str(walk.folds[-1].capital),
        "probability": walk.probability,
        "deflated_sharpe": _luck(walk.deflated),
        "equity_curve": [
            {"time": time.isoformat(), "equity": str(equity)} for time, equity in walk.curve
        ],
    }


def _common(study: Study, *, interrupted: bool) -> dict[str, Any]:
    plan = study.plan
    return {
        **{key: plan.identity()[key] for key in ("symbols", "from", "to", "params", "seed")},
        **plan.folds,
        "method": plan.method,
        "metric": plan.metric,
        "played": study.played,
        "infeasible": study.infeasible,
        "seconds": round(study.seconds, 3),
        "interrupted": interrupted,
        "file": str(study.file.path),
    }


def _fold(metric: str, played: Played) -> dict[str, Any]:
    fold, best = played.fold, played.best
    return {
        "fold": fold.number,
        "train": [day.isoformat() for day in fold.train_window],
        "test": [day.isoformat() for day in fold.test_window],
        "sets": played.tried,
        "set": best and best.chosen,
        "in_sample": best and best.figures[metric],
        "out_of_sample": played.metric_out,
        "kept": played.kept,
        "deflated_sharpe": _luck(played.luck),
        "capital": str(played.capital),
    }


def _luck(luck: Deflated | None) -> dict[str, Any] | None:
    if luck is None:
        return None
    a_year = TRADING_DAYS_A_YEAR**0.5
    return {**asdict(luck), "sharpe": luck.sharpe * a_year, "luck": luck.luck * a_year}


# For people


def show_sweep(study: Study, results: Sequence[Result], luck: Deflated | None) -> None:
    """The best sets, and how much to believe of them."""
    metric = study.plan.metric
    best = ranked(results, metric)
    if best:
        console.print(_best_table(best[:SHOWN], metric))
    _say(_counted(study, len(results), len(results) - len(best)))
    _say_luck(luck, "The best set")


def show_walk(study: Study, walk: WalkForward) -> None:
    """What each fold promised and kept, and the test days as a whole."""
    metric = study.plan.metric
    table = Table(box=None, pad_edge=False)
    for name in ("test days", "set chosen before"):
        table.add_column(name, overflow="fold")
    for name in (f"{metric} in training", "in test", "kept", "skill?", "capital ₹"):
        table.add_column(name, justify="right")
    for played in walk.folds:
        days = played.fold.test_window
        table.add_row(
            f"{days[0]} … {days[1]}",
            "none: no trades" if played.best is None else _set(played.best.chosen),
            _number(played.best and played.best.figures[metric]),
            _number(played.metric_out),
            _share(played.kept),
            DASH if played.luck is None else _share(played.luck.probability),
            f"{played.capital:,.2f}",
        )
    console.print(table)
    figures = walk.metrics
    _say(
        f"[bold]Out of sample[/bold]  {len(walk.curve)} sessions, {figures.trades} trades, "
        f"return {figures.total_return_percent:.2f} %, drawdown {figures.max_drawdown_percent:.2f} "
        f"%, Sharpe {_number(figures.sharpe)}; a true Sharpe above 0 has a probability of "
        f"{_share(walk.probability)}."
    )
    _say(_counted(study, walk.tried, 0))
    _say_luck(walk.deflated, "The test days")


def show_kept(study: Study) -> None:
    """What an interrupted study leaves behind."""
    kept = sum(len(results) for results in study.file.folds.values())
    _say(f"[yellow]Interrupted.[/yellow] {kept:,} sets are kept; --resume goes on with them.")


def _best_table(best: Sequence[Result], metric: str) -> Table:
    beside = [name for name in BESIDE if name != metric]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in (*best[0].chosen, metric, *(TITLES.get(name, name) for name in beside)):
        table.add_column(name, justify="right", overflow="fold")
    for place, result in enumerate(best, 1):
        figures = (_number(result.figures[name]) for name in (metric, *beside))
        table.add_row(str(place), *(_value(v) for v in result.chosen.values()), *figures)
    return table


def _counted(study: Study, sets: int, undefined: int) -> str:
    rate = study.played / study.seconds if study.seconds else 0.0
    parts = [f"{sets:,} sets, {study.played:,} of them played in {study.seconds:.1f} s"]
    if study.played:
        parts.append(f"{rate:,.0f} a second")
    if study.infeasible:
        parts.append(f"{study.infeasible:,} left out whose values do not go together")
    if undefined:
        parts.append(f"{undefined:,} without a {study.plan.metric}")
    seeded = "" if study.plan.method is Method.GRID else f", seed {study.plan.seed}"
    return f"{'; '.join(parts)}{seeded}. Results: {study.file.path}"


def _say_luck(luck: Deflated | None, what: str) -> None:
    if luck is None:
        return
    a_year = TRADING_DAYS_A_YEAR**0.5
    _say(
        f"{what}: Sharpe {luck.sharpe * a_year:.2f} a year. Of {luck.trials:,} sets without any "
        f"skill the best is expected at {luck.luck * a_year:.2f}; the probability that this is "
        f"more than such luck (deflated Sharpe ratio) is {luck.probability:.0%}."
    )


def _say(text: str) -> None:
    console.print(text, soft_wrap=True)


def _set(chosen: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={_value(value)}" for name, value in chosen.items())


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> str:
    if value is None:
        return DASH
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


def _share(value: float | None) -> str:
    return DASH if value is None else f"{value:.0%}"
