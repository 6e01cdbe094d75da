"""Groww over its REST API: one connection, the prices it serves, the orders it takes."""
