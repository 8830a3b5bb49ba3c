"""The fixtures that the builder's tests share; they are made in tests/kit."""

from tests.kit.edgetpu.compiler import pairs, stand_in
from tests.kit.recipes import built, float_model, make_recipe, recipe

__all__ = ["built", "float_model", "make_recipe", "pairs", "recipe", "stand_in"]
