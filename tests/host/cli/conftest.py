"""The fixtures of the command line's tests that are made in tests/kit."""

from tests.kit.recipes import make_recipe

__all__ = ["make_recipe"]
