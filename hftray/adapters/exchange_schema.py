"""The tables of the simulated exchange's book, and what they enforce by themselves."""

# Columns that books made by an earlier version lack; they are the last ones, in this order.
ADDED = ("stop", "triggered")

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    reference TEXT PRIMARY KEY,
    symbol TEXT NOT NULL,
    exchange TEXT NOT NULL,
    leg TEXT NOT NULL,
    side TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    time TEXT NOT NULL,
    limit_price TEXT,
    trigger_price TEXT,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    acted_at TEXT NOT NULL,
    session_day TEXT,
    last_price REAL,
    stop INTEGER NOT NULL DEFAULT 0,
    triggered INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS orders_by_status ON orders (status);
CREATE INDEX IF NOT EXISTS orders_by_change ON orders (acted_at);
CREATE INDEX IF NOT EXISTS orders_by_day ON orders (substr(time, 1, 10));
CREATE TABLE IF NOT EXISTS executions (
    trade_id TEXT PRIMARY KEY,
    reference TEXT NOT NULL REFERENCES orders,
    quantity INTEGER NOT NULL,
    price TEXT NOT NULL,
    time TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS executions_by_order ON executions (reference);

CREATE TABLE IF NOT EXISTS withdrawn (reference TEXT PRIMARY KEY, symbol TEXT NOT NULL, time TEXT);
CREATE TRIGGER IF NOT EXISTS refuse_withdrawn BEFORE INSERT ON orders
WHEN EXISTS (SELECT 1 FROM withdrawn WHERE reference = NEW.reference)
BEGIN SELECT RAISE(ABORT, 'never reached the exchange'); END;

-- Running totals: adding up every execution of a long run would keep an order waiting.
CREATE TABLE IF NOT EXISTS holdings (symbol TEXT PRIMARY KEY, shares INTEGER NOT NULL);
INSERT INTO holdings
SELECT symbol, sum(iif(side = 'BUY', e.quantity, -e.quantity))
FROM executions AS e JOIN orders USING (reference)
WHERE NOT EXISTS (SELECT 1 FROM holdings) GROUP BY symbol;
CREATE TRIGGER IF NOT EXISTS count_holdings AFTER INSERT ON executions
BEGIN
    INSERT INTO holdings
    SELECT symbol, iif(side = 'BUY', NEW.quantity, -NEW.quantity)
    FROM orders WHERE reference = NEW.reference
    ON CONFLICT (symbol) DO UPDATE SET shares = shares + excluded.shares;
END;
"""
