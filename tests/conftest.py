"""All tests: examples that are drawn at random may take as long as the machine needs."""

from hypothesis import settings

# How fast an example is says something about the machine; speed is measured in benchmarks/.
settings.register_profile("hftray", deadline=None, print_blob=True)
settings.load_profile("hftray")
