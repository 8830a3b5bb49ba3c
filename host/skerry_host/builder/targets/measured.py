"""What the gates look at of a model, gathered from its comparison with the float one. Judges nothing."""

from skerry_host.builder.judge.evaluate import answers_only, quality
from skerry_host.builder.judge.gates import Measured
from skerry_host.builder.judge.paired import Comparison
from skerry_host.builder.modelfile.describe import describe_any
from skerry_host.builder.recipe.recipe import Quantize
from skerry_host.builder.targets.choose import Work


def measured_of(work: Work, model: bytes, plan: Quantize, compared: Comparison) -> Measured:
    """All of it but the golden outputs, which are recorded of the model that is chosen."""
    reference = None if work.source.quantized else compared.reference
    found = quality(reference, compared.score, (work.source.file_bytes, len(model)), compared.channels)
    return Measured(
        graph=describe_any(model),
        quality=found,
        golden_problem="",
        signals=answers_only(found.sqnr_db, work.recipe),
        plan=plan,
        as_it_is=work.source.quantized,
        chance=(reference or compared.score).chance,
        settled=compared.settled,
        followed=compared.followed,
        classes=compared.classes,
    )
