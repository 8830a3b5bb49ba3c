"""Tries 16-bit activations where 8 bits lose too much, so that what is advised was done. Decides and keeps nothing.

Only on the refusal of a model: the quantized model is thrown away, its figures are told.
"""

from msgspec.structs import replace

from skerry_host.builder.judge.gates import run_gates
from skerry_host.builder.recipe.errors import ModelError
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.targets.base import QuantizationJob
from skerry_host.builder.targets.choose import Work
from skerry_host.builder.targets.measured import measured_of


def tried_wider(work: Work, plan: Quantize) -> str:
    """What 16-bit activations make of the model, as one sentence; empty where its target or plan has no such thing."""
    if plan.activations != "int8" or not work.builder.searched or work.source.quantized:
        return ""
    io, quantizer = "float" if plan.io == "float" else "int16", work.recipe.quantize.quantizer
    wider = replace(plan, activations="int16", io=io, quantizer=quantizer, search=False)
    keys = f"activations = 'int16' with io = '{wider.io}' in [quantize]"
    work.progress("trying 16-bit activations")
    try:
        found = _found(work, wider)
    except ModelError as error:
        return f"{keys} was tried and cannot be: {error.message}"
    return f"{keys} was tried and {found}"


def _found(work: Work, plan: Quantize) -> str:
    job = QuantizationJob(work.source, work.data.calibration, work.recipe.feeding, plan, work.progress)
    model = work.builder.make(job)
    measured = measured_of(work, model, plan, work.evaluation.compare(model))
    missed = [result for result in run_gates(measured, work.recipe.budget) if result.reason]
    worst = min(measured.judged.values(), default=0.0)
    if not missed:
        return f"passes every gate ({worst:.1f} dB)"
    return f"misses {len(missed)} {'gates' if len(missed) > 1 else 'gate'}: {'; '.join(one.reason for one in missed)}"
