"""What every test gets: repeatable hypothesis runs, and a header that says which counterparts the tests use."""

from hypothesis import settings

# The same examples on every machine, and no verdict that depends on how fast it is.
settings.register_profile("tailwatch", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tailwatch")
