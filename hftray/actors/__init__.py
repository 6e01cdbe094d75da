"""Thin shells that run the core on Ray; every Ray call is in handles.py."""
