"""What a backtest takes for granted, in sentences with the numbers of this very run.

The rules themselves are in `core` and are the live ones; docs/backtesting.md explains each, and
tests hold them.
"""

from hftray.backtest.order import BacktestOrder
from hftray.core.rules import TradingRules


def assumptions(order: BacktestOrder, rules: TradingRules) -> list[str]:
    """The sentences, from what is decided to what it costs."""
    return [*_market(order), *_entries(order, rules), *_exits(rules), *_money(order, rules)]


def _market(order: BacktestOrder) -> list[str]:
    return [
        f"Strategies see closed candles of {order.interval} minutes only and never a later one.",
        "A candle that the session's end would cut short is left out.",
        "Prices are as the data has them: no dividends, no adjustment for splits or bonuses.",
    ]


def _entries(order: BacktestOrder, rules: TradingRules) -> list[str]:
    patience, minutes = rules.signals.entry_patience, rules.session.no_entry_minutes
    band = f"{rules.risk.entry_band_percent:f}"
    return [
        "An entry is decided on a candle's close and fills at the next candle's open.",
        f"An entry is a limit order {band} % beyond the decision price; unfilled after {patience} "
        "candles it is withdrawn.",
        f"No position is opened in the last {minutes} minutes of a session.",
        "Every order fills completely: the size of an order does not move the market.",
        f"A fill is {order.slippage_bps:g} basis points worse than the price it meets, and rounded "
        "to the tick against the trader.",
    ]


def _exits(rules: TradingRules) -> list[str]:
    minutes = rules.session.square_off_minutes
    return [
        "When one candle touches several levels, the stop-loss counts first, then the trailing "
        "stop, then the target.",
        "Where the market jumped over a level, the fill is at the candle's open.",
        "The trailing stop inside a candle is the one that stood when it opened.",
        f"Positions are closed {minutes} minutes before the session ends, or at the day's last "
        "price where its candles end earlier; nothing is held overnight.",
    ]


def _money(order: BacktestOrder, rules: TradingRules) -> list[str]:
    costs = (
        "Every fill pays brokerage, STT, exchange and SEBI fees, stamp duty and GST by the table "
        "in force on its day; days before the oldest table pay its rates."
        if order.charges
        else "No charges are taken: brokerage, taxes and fees are left out."
    )
    shared = ["All symbols share one account and its limits."] if len(order.symbols) > 1 else []
    return [
        costs,
        *shared,
        f"A loss of {rules.risk.max_daily_loss_percent:f} % of a day's opening capital ends "
        "entries for that day.",
        "Equity is taken at each session's end; ratios count 252 sessions a year and a risk-free "
        "rate of 0.",
        "Buy-and-hold pays no charges and may hold parts of a share.",
    ]
