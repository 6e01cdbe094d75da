"""The first schema: people, strategies, runs and everything a run records."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_people_and_strategies()
    _create_runs()
    _create_trades()
    _create_positions()
    _create_market_record()
    # The one row that counts changes of the strategies.
    op.execute("INSERT INTO catalog_state (id, roster_version) VALUES (1, 1)")


def downgrade() -> None:
    for table in (
        "equity",
        "signals",
        "positions",
        "trades",
        "ledger_events",
        "risk_events",
        "trading_sessions",
        "runs",
        "catalog_state",
        "strategies",
        "users",
    ):
        op.drop_table(table)


def _create_people_and_strategies() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=True),
        sa.Column("first_name", sa.String(), nullable=True),
        sa.Column("last_name", sa.String(), nullable=True),
        sa.Column("groww_api_key", sa.String(), nullable=True),
        sa.Column("groww_api_secret", sa.String(), nullable=True),
        sa.Column(
            "initial_capital", sa.Numeric(), server_default=sa.text("100000"), nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "strategies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "parameters", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_strategies")),
        sa.UniqueConstraint("name", name=op.f("uq_strategies_name")),
    )
    op.create_table(
        "catalog_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("roster_version", sa.BigInteger(), nullable=False),
        sa.Column("seeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_catalog_state_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_state")),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("initial_capital", sa.Numeric(), nullable=False),
        sa.Column("scanning", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "opened_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_runs_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(
        "uq_runs_unfinished",
        "runs",
        ["mode", "source", "user_id"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "trading_sessions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("session_day", sa.Date(), nullable=False),
        sa.Column("opening_capital", sa.Numeric(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_trading_sessions_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_sessions")),
        sa.UniqueConstraint(
            "run_id", "session_day", name=op.f("uq_trading_sessions_run_id_session_day")
        ),
    )
    op.create_table(
        "risk_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_risk_events_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk_events")),
    )
    op.create_index("ix_risk_events_run_newest", "risk_events", ["run_id", "time"], unique=False)
    op.create_table(
        "ledger_events",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_ledger_events")),
    )


def _create_trades() -> None:
    op.create_table(
        "trades",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price", sa.Numeric(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("strategy_id", sa.Integer(), nullable=True),
        sa.Column("pnl", sa.Numeric(), nullable=True),
        sa.Column("strategy_name", sa.String(), nullable=True),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("exchange", sa.String(), nullable=False),
        sa.Column("leg", sa.String(), nullable=False),
        sa.Column("requested_quantity", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("session_day", sa.Date(), nullable=False),
        sa.Column("limit_price", sa.Numeric(), nullable=True),
        sa.Column("trigger", sa.Numeric(), nullable=True),
        sa.Column("reserved", sa.Numeric(), nullable=False),
        sa.Column("decision_price", sa.Numeric(), nullable=True),
        sa.Column("candle_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("position", sa.String(), nullable=True),
        sa.Column("atr", sa.Double(), nullable=True),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("votes", postgresql.JSONB(), nullable=False),
        sa.Column("broker_order_id", sa.String(), nullable=False),
        sa.Column("charges", sa.Numeric(), nullable=True),
        sa.Column("gross_pnl", sa.Numeric(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.CheckConstraint("leg IN ('ENTRY', 'EXIT', 'MANUAL')", name=op.f("ck_trades_leg")),
        sa.CheckConstraint("side IN ('BUY', 'SELL')", name=op.f("ck_trades_side")),
        sa.CheckConstraint(
            "status IN ('PENDING', 'EXECUTED', 'FAILED')", name=op.f("ck_trades_status")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_trades_run_id")),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["strategies.id"],
            name=op.f("fk_trades_strategy_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_trades_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trades")),
        sa.UniqueConstraint("reference", name=op.f("uq_trades_reference")),
    )
    op.create_index("ix_trades_newest", "trades", ["timestamp", "id"], unique=False)
    op.create_index(
        "ix_trades_pending",
        "trades",
        ["run_id"],
        unique=False,
        postgresql_where=sa.text("status = 'PENDING'"),
    )
    op.create_index("ix_trades_run_day", "trades", ["run_id", "session_day"], unique=False)
    op.create_index("ix_trades_strategy", "trades", ["strategy_id"], unique=False)
    op.create_index(
        "ix_trades_symbol_newest", "trades", ["symbol", "timestamp", "id"], unique=False
    )


def _create_positions() -> None:
    op.create_table(
        "positions",
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("entry_price", sa.Numeric(), nullable=False),
        sa.Column("entry_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session_day", sa.Date(), nullable=False),
        sa.Column("stop_loss", sa.Numeric(), nullable=False),
        sa.Column("take_profit", sa.Numeric(), nullable=False),
        sa.Column("best_price", sa.Double(), nullable=False),
        sa.Column("atr", sa.Double(), nullable=True),
        sa.Column("strategy_id", sa.Integer(), nullable=True),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("votes", postgresql.JSONB(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exit_price", sa.Numeric(), nullable=True),
        sa.Column("exit_reason", sa.Text(), nullable=True),
        sa.Column("pnl", sa.Numeric(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_positions_run_id")),
        sa.ForeignKeyConstraint(
            ["strategy_id"],
            ["strategies.id"],
            name=op.f("fk_positions_strategy_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("reference", name=op.f("pk_positions")),
    )
    op.create_index(
        "ix_positions_open",
        "positions",
        ["run_id"],
        unique=False,
        postgresql_where=sa.text("closed_at IS NULL"),
    )
    op.create_index("ix_positions_run_entry", "positions", ["run_id", "entry_time"], unique=False)
    op.create_index("ix_positions_strategy", "positions", ["strategy_id"], unique=False)


def _create_market_record() -> None:
    op.create_table(
        "signals",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("symbol", sa.String(), nullable=False),
        sa.Column("candle_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signal", sa.String(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("votes", postgresql.JSONB(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_signals_run_id")),
        sa.PrimaryKeyConstraint("run_id", "symbol", "candle_time", name=op.f("pk_signals")),
    )
    op.create_index("ix_signals_run_newest", "signals", ["run_id", "candle_time"], unique=False)
    op.create_table(
        "equity",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("session_day", sa.Date(), nullable=False),
        sa.Column("capital", sa.Numeric(), nullable=False),
        sa.Column("equity", sa.Numeric(), nullable=False),
        sa.Column("realised_pnl", sa.Numeric(), nullable=False),
        sa.Column("open_pnl", sa.Numeric(), nullable=False),
        sa.Column("open_positions", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_equity_run_id")),
        sa.PrimaryKeyConstraint("run_id", "time", name=op.f("pk_equity")),
    )
