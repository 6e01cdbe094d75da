"""How many examples properties are tried on: a fifth of them every day, all of them in CI.

The variable HYPOTHESIS_PROFILE chooses: `everyday` (the default) or `thorough`.
"""

import os

from hypothesis import settings

_USUAL = 100
# How fast an example is says something about the machine; speed is measured in benchmarks/.
settings.register_profile("thorough", max_examples=_USUAL, deadline=None, print_blob=True)
settings.register_profile("everyday", settings.get_profile("thorough"), max_examples=_USUAL // 5)


def load() -> None:
    """Choose the profile, before the first property is read."""
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everyday"))


def examples(thorough: int) -> int:
    """The examples of a property that takes its own number of them, in the chosen profile."""
    return max(1, thorough * settings.default.max_examples // _USUAL)
