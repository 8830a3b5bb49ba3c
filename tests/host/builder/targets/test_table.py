"""Which targets a build takes, from boards and from the table alone: no builder is known by name elsewhere."""

from typing import get_args

import pytest
from msgspec.structs import replace

from skerry_agent.wire.targets import TARGETS, TargetName
from skerry_host.boards import Board, BoardError, load_board
from skerry_host.builder.build import BuildRequest, build
from skerry_host.builder.recipe.errors import RecipeError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.targets.table import BUILDERS, choose_targets, compiled_from, compilers, for_file
from tests.kit.recipes import NOW


@pytest.fixture
def board() -> Board:
    return load_board("raspberry-pi-4-coral-usb")


def names(builders) -> list[str]:
    return [builder.target.name for builder in builders]


def test_every_target_has_a_builder():
    assert set(BUILDERS) == set(get_args(TargetName))
    assert all(builder.target is TARGETS[name] for name, builder in BUILDERS.items())


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=list(BUILDERS))
def test_a_builder_says_what_to_do(builder):
    assert builder.hint
    assert builder.last_resort


def test_a_board_s_targets_are_built_in_its_order_and_a_compiled_one_stands_on_its_fallback(board: Board):
    assert names(choose_targets(replace(board, targets=("edgetpu", "onnx", "cpu")))) == ["onnx", "cpu"]
    assert names(choose_targets(board, ["edgetpu"])) == ["cpu"]
    assert names(choose_targets(board, ["cpu", "edgetpu"])) == ["cpu"]


def test_a_board_whose_targets_cannot_be_built_is_told_what_can(board: Board):
    with pytest.raises(BoardError, match="builds no edgetpu artifact") as refused:
        choose_targets(replace(board, targets=("edgetpu",)))
    made = {name for name, target in TARGETS.items() if target.fallback is None}
    assert set(refused.value.hint.removeprefix("it builds ").split(", ")) == made


def test_what_is_compiled_for_an_accelerator(board: Board):
    assert names(compilers(board)) == ["edgetpu"]
    assert names(compilers(board, ["edgetpu"])) == ["edgetpu"]
    assert compilers(board, ["cpu"]) == []
    assert compilers(load_board("raspberry-pi-4")) == []
    assert compiled_from(board, "cpu") is BUILDERS["edgetpu"]
    assert compiled_from(board, "onnx") is None


def test_the_kind_of_a_file_names_the_target_that_is_made_of_it():
    assert (for_file(".tflite"), for_file(".onnx")) == (BUILDERS["cpu"], BUILDERS["onnx"])


def test_a_plan_that_an_accelerator_cannot_run():
    wide = Quantize(activations="int16", io="int16")
    assert "8-bit integers only" in BUILDERS["edgetpu"].plan_problem(wide)
    assert BUILDERS["cpu"].plan_problem(wide) == BUILDERS["edgetpu"].plan_problem(Quantize()) == ""


def test_asking_for_it_all_the_same_is_refused_before_anything_is_read(make_recipe, tmp_path):
    folder = make_recipe(('activations = "int8"', 'activations = "int16"'), ('io = "int8"', 'io = "int16"'))
    order = BuildRequest(folder, "raspberry-pi-4-coral-usb", NOW, "1.0.0", tmp_path / "b", targets=["edgetpu"])
    with pytest.raises(RecipeError, match="8-bit integers only") as refused:
        build(order)
    assert (refused.value.code, refused.value.hint) == ("edgetpu", "use int8, or build another --target")
