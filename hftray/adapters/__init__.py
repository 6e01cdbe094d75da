"""The world outside: simulated market and exchange, replayed files, the session calendar."""
