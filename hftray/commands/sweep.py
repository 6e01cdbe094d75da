"""`hftray sweep` and `hftray walk-forward`: which parameters did well, and whether that lasts."""

import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from hftray.backtest.answer import asked, figures
from hftray.backtest.assumptions import assumptions
from hftray.backtest.order import ENSEMBLE, BacktestOrder, choose_rows
from hftray.backtest.outcome import Outcome
from hftray.backtest.players import Player, Players
from hftray.backtest.sweep import (
    HIGHER_IS_BETTER,
    Result,
    deflated,
    ranked,
    require_metric,
)
from hftray.backtest.trial_file import SWEEP_FOLD, TrialFile
from hftray.backtest.walk_forward import Fold, WalkForward, folds, walk_forward
from hftray.commands import sweep_options as given
from hftray.commands.backtest import days_of, open_market, read_rupees
from hftray.commands.study import Plan, Study, interruptible, load_ground, players, worker_count
from hftray.commands.sweep_options import Options
from hftray.commands.sweep_view import (
    show_kept,
    show_sweep,
    show_walk,
    sweep_answer,
    walk_answer,
)
from hftray.core.errors import StopError
from hftray.settings import Settings
from hftray.strategies.defaults import default_strategies
from hftray.strategies.plugins import load_plugins, read_plugins
from hftray.terminal import ConfigFile, DataDir, load_layers, readable_errors

commands = typer.Typer()

INTERRUPTED = 130  # what shells give for Ctrl-C


@commands.command()
def sweep(
    symbols: given.Symbols,
    param: given.Params,
    data: given.Data = None,
    grid: given.Grid = False,
    random: given.Random = None,
    tpe: given.Tpe = None,
    metric: given.Metric = "sharpe",
    first: given.First = None,
    last: given.Last = None,
    strategy: given.Strategies = None,
    strategy_file: given.StrategyFiles = None,
    capital: given.Capital = None,
    seed: given.Seed = 0,
    workers: given.Workers = None,
    address: given.Address = None,
    out: given.Out = None,
    resume: given.Resume = False,
    as_json: given.AsJson = False,
    report: given.Report = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Try many sets of parameters on history; Ctrl-C keeps what is finished."""
    options = Options(**locals())
    with readable_errors():
        _sweep(options)


@commands.command("walk-forward")
def walk(
    symbols: given.Symbols,
    param: given.Params,
    train: given.Train = 60,
    test: given.Test = 20,
    anchored: given.Anchored = False,
    data: given.Data = None,
    grid: given.Grid = False,
    random: given.Random = None,
    tpe: given.Tpe = None,
    metric: given.Metric = "sharpe",
    first: given.First = None,
    last: given.Last = None,
    strategy: given.Strategies = None,
    strategy_file: given.StrategyFiles = None,
    capital: given.Capital = None,
    seed: given.Seed = 0,
    workers: given.Workers = None,
    address: given.Address = None,
    out: given.Out = None,
    resume: given.Resume = False,
    as_json: given.AsJson = False,
    report: given.Report = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Choose parameters on some sessions, play them on the next ones, and move on."""
    options = Options(**locals())
    with readable_errors():
        _walk(options)


def _sweep(options: Options) -> None:
    settings, plan = _planned(options)
    with closing(_results(options, settings, plan)) as file:
        study = Study(plan, file, _screen())
        interrupted = False
        try:
            with interruptible(), _crew(options, plan, rounds=1) as crew:
                study.run(crew, SWEEP_FOLD, None, "playing sets")
        except KeyboardInterrupt:
            interrupted = True
    results = file.folds.get(SWEEP_FOLD, [])
    best = next(iter(ranked(results, plan.metric)), None)
    outcome = None if best is None else plan.ground.play(best.chosen)
    luck = None if outcome is None else deflated(outcome, plan.ground.capital, results)
    if options.as_json:
        answer = sweep_answer(study, results, luck, interrupted=interrupted)
        typer.echo(json.dumps(answer, indent=2))
    else:
        show_sweep(study, results, luck)
    if options.report is not None and best is not None and outcome is not None:
        title = f"Sweep on {', '.join(plan.order.symbols)}: the best set"
        _report(options.report, plan, title, outcome, best=best, results=results)
    _leave(study, options, interrupted=interrupted)


def _walk(options: Options) -> None:
    settings, plan = _planned(options)
    rounds = folds(
        plan.ground.days(), train=options.train, test=options.test, anchored=options.anchored
    )
    walked: WalkForward | None = None
    with closing(_results(options, settings, plan)) as file:
        study = Study(plan, file, _screen())
        try:
            with interruptible(), _crew(options, plan, rounds=len(rounds)) as crew:

                def optimise(fold: Fold) -> list[Result]:
                    title = f"fold {fold.number} of {len(rounds)}"
                    return study.run(crew, fold.number, fold.train_window, title)

                walked = walk_forward(plan.ground, rounds, optimise, plan.metric)
        except KeyboardInterrupt:
            pass
    if options.as_json:
        typer.echo(json.dumps(walk_answer(study, walked), indent=2))
    elif walked is not None:
        show_walk(study, walked)
    if options.report is not None and walked is not None:
        days = rounds[0].test[0], rounds[-1].test[-1]
        tested = replace(
            plan,
            ground=plan.ground.within(days),
            order=replace(plan.order, start_date=days[0], end_date=days[1]),
        )
        title = f"Walk-forward on {', '.join(plan.order.symbols)}: the test days"
        _report(options.report, tested, title, Outcome(walked.trips, walked.curve))
    _leave(study, options, interrupted=walked is None)


def _planned(options: Options) -> tuple[Settings, Plan]:
    """Everything that can be wrong with the order shows here, before any work is done."""
    require_metric(options.metric)
    method, count = options.method()
    own = [str(path) for path in options.strategy_file or ()]
    settings = load_layers(
        options.config, storage__data_dir=options.data_dir, strategies__files=own or None
    ).settings
    files = read_plugins(settings.strategies.files)
    load_plugins(files)
    market = open_market(options.data, options.config)
    symbols = options.names()
    days = asyncio.run(days_of(market.feed, symbols, options.first, options.last))
    names = tuple(options.strategy or [ENSEMBLE])
    capital = market.capital if options.capital is None else read_rupees(options.capital)
    order = market.terms.filled_in(
        BacktestOrder(
            symbols=symbols,
            strategies=names,
            roster=choose_rows(names, default_strategies()),
            start_date=days[0],
            end_date=days[1],
            initial_capital=capital,
        )
    )
    ground = asyncio.run(load_ground(market.terms, order, options.param, files))
    rounds: dict[str, Any] = {}
    if options.train:
        rounds = {name: getattr(options, name) for name in ("train", "test", "anchored")}
    params = tuple(options.param)
    plan = Plan(order, ground, method, count, options.metric, options.seed, params, rounds)
    plan.search(())
    return settings, plan


def _results(options: Options, settings: Settings, plan: Plan) -> TrialFile:
    folder = options.out or plan.folder(settings.storage.data_dir)
    return TrialFile(folder / "trials.jsonl", plan.identity(), resume=options.resume)


def _crew(options: Options, plan: Plan, *, rounds: int) -> AbstractContextManager[Players]:
    sets = plan.search(()).count * rounds
    with _screen().status("getting ready (the first sweep on a machine compiles for ten seconds)"):
        Player(plan.ground)(None, [{}])  # here, so that the workers find it compiled
    count = worker_count(options.workers, options.address, plan.ground, sets)
    return players(plan.ground, count, options.address)


def _screen() -> Console:
    return Console(stderr=True, highlight=False)


def _leave(study: Study, options: Options, *, interrupted: bool) -> None:
    if interrupted:
        if not options.as_json:
            show_kept(study)
        raise typer.Exit(INTERRUPTED)


def _report(
    path: Path,
    plan: Plan,
    title: str,
    outcome: Outcome,
    *,
    best: Result | None = None,
    results: Sequence[Result] = (),
) -> None:
    """The HTML report. StopError when it cannot be written."""
    from hftray.backtest.report import SweepTable, write_report

    order, rules, histories = plan.order, plan.ground.space.rules, plan.ground.histories
    metric, table = plan.metric, None
    if best is not None:
        rows, rules = plan.ground.space.applied(best.chosen)
        order = replace(order, roster=tuple(rows))
        best_first = [(r.chosen, r.figures[metric]) for r in ranked(results, metric)]
        maximise = HIGHER_IS_BETTER[metric]
        table = SweepTable(metric, best_first, len(results), maximise=maximise)
    try:
        write_report(
            path,
            title=title,
            order=asked(order),
            outcome=outcome,
            histories=histories,
            metrics=figures(order, histories, outcome),
            sweep=table,
            roster=order.roster,
            assumptions=assumptions(order, rules),
            command=" ".join(["hftray", *sys.argv[1:]]),
        )
    except OSError as error:
        raise StopError(f"--report {path}: cannot be written ({error.strerror})") from error
    _screen().print(f"report: {path}", markup=False, soft_wrap=True)
