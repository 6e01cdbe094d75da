"""The database schema. Column names equal the field names of the values they hold.

Prices and money are NUMERIC without a fixed scale (the rules round, the database keeps what it
is given), times TIMESTAMPTZ. A change here needs a migration; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

MOMENT = DateTime(timezone=True)

users = Table(
    "users",
    metadata,
    Column("id", String, primary_key=True),
    Column("email", String, unique=True),
    Column("first_name", String),
    Column("last_name", String),
    Column("groww_api_key", String),  # encrypted, see storage.secrets
    Column("groww_api_secret", String),  # encrypted
    Column("initial_capital", Numeric, nullable=False, server_default=text("100000")),
    Column("created_at", MOMENT, nullable=False, server_default=func.now()),
)

strategies = Table(
    "strategies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("description", Text, nullable=False, server_default=""),
    Column("kind", String, nullable=False),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    Column("parameters", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("created_at", MOMENT, nullable=False, server_default=func.now()),
)

# One row. `roster_version` grows with every change of a strategy, so that the engine can ask
# cheaply whether anything is new; `seeded_at` remembers that the defaults were put in once.
catalog_state = Table(
    "catalog_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("roster_version", BigInteger, nullable=False),
    Column("seeded_at", MOMENT),
    CheckConstraint("id = 1", name="single_row"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("mode", String, nullable=False),
    Column("source", String, nullable=False),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("initial_capital", Numeric, nullable=False),
    Column("scanning", Boolean, nullable=False, server_default=false()),
    Column("started_at", MOMENT, nullable=False, server_default=func.now()),
    Column("opened_at", MOMENT, nullable=False, server_default=func.now()),
    Column("finished_at", MOMENT),
)
Index(
    "uq_runs_unfinished",
    runs.c.mode,
    runs.c.source,
    runs.c.user_id,
    unique=True,
    postgresql_where=runs.c.finished_at.is_(None),
)

trades = Table(
    "trades",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("user_id", ForeignKey("users.id"), nullable=False),
    Column("symbol", String, nullable=False),
    Column("side", String, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("price", Numeric),
    Column("status", String, nullable=False),
    Column("timestamp", MOMENT, nullable=False),
    Column("strategy_id", ForeignKey("strategies.id", ondelete="SET NULL")),
    Column("pnl", Numeric),
    # Beyond the specification's columns:
    Column("strategy_name", String),  # outlives the strategy
    Column("reference", String, nullable=False, unique=True),
    Column("run_id", ForeignKey("runs.id")),  # NULL on trades made elsewhere
    Column("exchange", String, nullable=False),
    Column("leg", String, nullable=False),
    Column("requested_quantity", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("session_day", Date, nullable=False),
    Column("limit_price", Numeric),
    Column("trigger", Numeric),
    Column("reserved", Numeric, nullable=False),
    Column("decision_price", Numeric),
    Column("candle_time", MOMENT),
    Column("position", String),  # reference of the entry, or of the order that is confirmed
    Column("atr", Double),
    Column("score", Double, nullable=False),
    Column("votes", JSONB, nullable=False),
    Column("broker_order_id", String, nullable=False),
    Column("charges", Numeric),
    Column("gross_pnl", Numeric),
    Column("sequence", Integer, nullable=False),
    CheckConstraint("side IN ('BUY', 'SELL')", name="side"),
    CheckConstraint("status IN ('PENDING', 'EXECUTED', 'FAILED')", name="status"),
    CheckConstraint("leg IN ('ENTRY', 'EXIT', 'MANUAL')", name="leg"),
)
Index("ix_trades_newest", trades.c.timestamp, trades.c.id)
Index("ix_trades_symbol_newest", trades.c.symbol, trades.c.timestamp, trades.c.id)
Index("ix_trades_run_day", trades.c.run_id, trades.c.session_day)
Index("ix_trades_strategy", trades.c.strategy_id)
Index("ix_trades_pending", trades.c.run_id, postgresql_where=trades.c.status == "PENDING")

positions = Table(
    "positions",
    metadata,
    Column("reference", String, primary_key=True),  # of the entry order
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("symbol", String, nullable=False),
    Column("side", String, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("entry_price", Numeric, nullable=False),
    Column("entry_time", MOMENT, nullable=False),
    Column("session_day", Date, nullable=False),
    Column("stop_loss", Numeric, nullable=False),
    Column("take_profit", Numeric, nullable=False),
    Column("best_price", Double, nullable=False),
    Column("atr", Double),
    Column("strategy_id", ForeignKey("strategies.id", ondelete="SET NULL")),
    Column("score", Double, nullable=False),
    Column("votes", JSONB, nullable=False),
    Column("closed_at", MOMENT),
    Column("exit_price", Numeric),
    Column("exit_reason", Text),
    Column("pnl", Numeric, nullable=False),  # net, realised so far
)
Index("ix_positions_run_entry", positions.c.run_id, positions.c.entry_time)
Index("ix_positions_strategy", positions.c.strategy_id)
Index("ix_positions_open", positions.c.run_id, postgresql_where=positions.c.closed_at.is_(None))

signals = Table(  # closed candles only
    "signals",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("symbol", String, primary_key=True),
    Column("candle_time", MOMENT, primary_key=True),
    Column("timestamp", MOMENT, nullable=False),
    Column("signal", String, nullable=False),
    Column("score", Double, nullable=False),
    Column("votes", JSONB, nullable=False),
    Column("price", Double, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("action", Text, nullable=False),
)
Index("ix_signals_run_newest", signals.c.run_id, signals.c.candle_time)

equity = Table(
    "equity",
    metadata,
    Column("run_id", ForeignKey("runs.id"), primary_key=True),
    Column("time", MOMENT, primary_key=True),
    Column("session_day", Date, nullable=False),
    Column("capital", Numeric, nullable=False),
    Column("equity", Numeric, nullable=False),
    Column("realised_pnl", Numeric, nullable=False),
    Column("open_pnl", Numeric, nullable=False),
    Column("open_positions", Integer, nullable=False),
)

trading_sessions = Table(
    "trading_sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("session_day", Date, nullable=False),
    Column("opening_capital", Numeric, nullable=False),
    Column("time", MOMENT, nullable=False),
    UniqueConstraint("run_id", "session_day"),
)

risk_events = Table(
    "risk_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", String, nullable=False),
    Column("time", MOMENT, nullable=False),
    Column("sequence", Integer, nullable=False, server_default=text("0")),
)
Index("ix_risk_events_run_newest", risk_events.c.run_id, risk_events.c.time)

# One row: which journal's events are taken now, and since when; an empty name before the first.
ledger_owner = Table(
    "ledger_owner",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("journal", String, nullable=False),
    Column("since", MOMENT, nullable=False, server_default=func.now()),
    CheckConstraint("id = 1", name="single_row"),
)

# Which events were applied. Signals, equity marks and position marks are not listed: their own
# keys make them exactly-once already, and they come by the hundred.
ledger_events = Table(
    "ledger_events",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("recorded_at", MOMENT, nullable=False, server_default=func.now()),
)
