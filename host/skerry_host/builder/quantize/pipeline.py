"""The quantization of a float TFLite model, step by step. A new step is a file here and a name in `recipe.STEPS`.

The names are beside the keys of [quantize], so that a step with its own key changes two files, not three. The search,
the advice and the documentation read `PIPELINE`. Measures no accuracy.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from importlib import import_module

from skerry_agent.processing import Feeding
from skerry_host.builder.data.samples import Samples
from skerry_host.builder.modelfile.tflite import write_model
from skerry_host.builder.quantize.inputs import Inputs
from skerry_host.builder.quantize.step import Choices, Draft, Step, Symptom
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.progress import Progress, silent
from skerry_host.builder.recipe.recipe import STEPS, Quantize
from skerry_host.builder.sources.load import SourceModel

PIPELINE: tuple[Step, ...] = tuple(import_module(f"skerry_host.builder.quantize.{name}").STEP for name in STEPS)


def quantize(
    source: SourceModel, samples: Samples, feeding: Feeding, plan: Quantize, progress: Progress = silent
) -> bytes:
    """A model quantized as the plan says; raises `ModelError` when the quantizer cannot."""
    if source.quantized:
        return source.data
    inputs = Inputs(samples, feeding, source)
    draft = Draft(source, plan, inputs, progress)
    with _refusals():
        for step in PIPELINE:
            draft = step.run(draft) if step.applies(plan) else draft
    return write_model(draft.model)


def choices() -> tuple[Choices, ...]:
    """What a search may try, in the order in which it does."""
    return tuple(step.choices for step in sorted(PIPELINE, key=lambda step: step.search_order) if step.search_order)


def remedy(symptom: Symptom) -> str:
    """What to write into a recipe against a symptom: every step that knows something against it."""
    return " or ".join(step.remedies[symptom] for step in PIPELINE if symptom in step.remedies)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Turn the quantizer's exceptions into `ModelError`; drop the bars, reports and advice for debugging it prints."""
    noise = io.StringIO()
    try:
        with contextlib.redirect_stderr(noise), contextlib.redirect_stdout(noise), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        line = " ".join(str(error).split())[:300]
        raise ModelError(f"the quantizer cannot take this model: {line}", code="quantizer") from None
