"""What every test shares: how hard Hypothesis looks."""

from hypothesis import settings

# No deadline for one example: the machine that runs the tests is shared, and a slow moment is no fault of the code.
settings.register_profile("antiphon", deadline=None, print_blob=True)
settings.load_profile("antiphon")
