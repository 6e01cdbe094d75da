"""The rules: pure functions and plain classes that touch no clock, network, database or Ray."""
