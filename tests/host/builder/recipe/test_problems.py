"""Everything that is wrong is found in one round."""

import pytest

from skerry_agent.wire.errors import SkerryError
from skerry_host.builder.recipe.errors import ModelError, ProblemsError, RecipeError
from skerry_host.builder.recipe.problems import Problems


def fails(error: SkerryError):
    def make() -> int:
        raise error

    return make


def test_what_is_right_is_returned_and_what_is_wrong_is_kept():
    problems = Problems()
    assert (problems.take(lambda: 7), problems.take(fails(ModelError("broken")))) == (7, None)
    assert [error.message for error in problems.found] == ["broken"]


def test_nothing_wrong_raises_nothing():
    Problems().require()


def test_a_single_error_is_raised_as_it_is():
    problems = Problems()
    problems.add(RecipeError("recipe.toml", ["a", "b"], code="data"))
    with pytest.raises(RecipeError) as one:
        problems.require()
    assert one.value.code == "data"


def test_several_are_raised_together_each_once_and_the_parts_of_others_on_their_own():
    problems = Problems()
    problems.add(ModelError("damaged", hint="export it"))
    problems.add(ProblemsError([ModelError("damaged", hint="export it"), SkerryError("late")]))
    with pytest.raises(ProblemsError) as several:
        problems.require()
    assert several.value.exit_code == 2
    assert several.value.issues == ("damaged; export it", "late")
    facts = several.value.facts()
    assert [one["message"] for one in facts["problems"]] == ["damaged", "late"]
