"""The parts of `chaos.py`: the system it strikes, the adversary, the audit, the report."""
