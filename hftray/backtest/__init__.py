"""The core engine driven over history."""
