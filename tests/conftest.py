"""All tests: examples that are drawn at random may take as long as the machine needs."""

import hypothesis_profiles

hypothesis_profiles.load()
