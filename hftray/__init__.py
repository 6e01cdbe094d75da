"""hftray: a trading engine for NSE/BSE intraday shares, built as actors on Ray."""

__version__ = "0.1.0"
