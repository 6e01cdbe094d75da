"""Thin shells that run the core on Ray; Ray is called in ray_calls.py and workers.py alone."""
