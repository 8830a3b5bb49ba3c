"""16-bit activations are tried before anybody is sent to them."""

from dataclasses import replace

import msgspec
import pytest

from skerry_host.builder.data.load import load_data
from skerry_host.builder.judge.paired import PairedEvaluation
from skerry_host.builder.recipe.progress import silent
from skerry_host.builder.recipe.recipe import Budget, Quantize, load_recipe
from skerry_host.builder.sources.load import load_source
from skerry_host.builder.targets.choose import Work
from skerry_host.builder.targets.table import BUILDERS
from skerry_host.builder.targets.wider import tried_wider


@pytest.fixture(scope="module")
def work(recipe) -> Work:
    loaded = load_recipe(recipe, "1.0.0")
    source = load_source(loaded.source)
    data = load_data(loaded, source.graph.input_specs(), 10)
    evaluation = PairedEvaluation(source.data, data.evaluation, loaded.recipe)
    return Work(BUILDERS["cpu"], loaded.recipe, source, data, evaluation, silent)


def with_budget(work: Work, **budget) -> Work:
    recipe = msgspec.structs.replace(work.recipe, budget=Budget(**budget))
    evaluation = PairedEvaluation(work.source.data, work.data.evaluation, recipe)
    return replace(work, recipe=recipe, evaluation=evaluation)


def test_what_16_bits_reach_is_told_with_all_the_keys_it_takes(work: Work):
    """A model at 3.3 dB was sent to int16, which was refused because io did not fit, and then again for 8.8 dB."""
    words = tried_wider(with_budget(work, min_sqnr_db=20.0), Quantize(io="uint8"))
    assert words.startswith("activations = 'int16' with io = 'int16' in [quantize] was tried and passes every gate (")


def test_where_it_misses_its_budget_the_gates_that_it_misses_are_told(work: Work):
    words = tried_wider(with_budget(work, min_sqnr_db=150.0, max_bytes=10), Quantize(io="float"))
    assert "with io = 'float' in [quantize] was tried and misses 2 gates: output" in words
    assert "under min_sqnr_db 150.0; the model has" in words


def test_where_there_is_no_such_thing_nothing_is_said(work: Work):
    assert tried_wider(work, Quantize(activations="int16", io="int16")) == ""
    assert tried_wider(replace(work, builder=BUILDERS["onnx"]), Quantize()) == ""


def test_16_bits_are_tried_with_the_recipes_quantizer_whichever_the_search_chose(work: Work):
    """The second makes no 16 bit, which was given as the reason why there is no 16 bit."""
    words = tried_wider(with_budget(work, min_sqnr_db=20.0), Quantize(io="uint8", quantizer="tensorflow"))
    assert "was tried and passes every gate (" in words
