"""All tests: the profile of their properties, and no second look at what the imports made."""

import gc

import hypothesis_profiles

hypothesis_profiles.load()


def pytest_collection_finish() -> None:
    """Modules live to the end, so the garbage collector need not go through them again."""
    gc.freeze()
