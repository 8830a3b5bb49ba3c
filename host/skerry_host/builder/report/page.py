"""Draws a report: facts in, one HTML document out that loads nothing from anywhere. Gathers nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from skerry_agent.wire.manifest import Figure, Quality
from skerry_host.builder.diagnose.advice import least_db
from skerry_host.builder.judge.gates import loss, shown
from skerry_host.builder.report import figures
from skerry_host.builder.report.boxes import draw
from skerry_host.builder.report.facts import (
    Facts,
    OperatorRow,
    TargetFacts,
    accelerator_of,
    changes_to_make,
    confused,
    confusion_counts,
    roof_of,
    rows,
)
from skerry_host.builder.report.roofline import Roof
from skerry_host.metric_words import in_its_unit

NAME = "report.html"


@dataclass(frozen=True, slots=True)
class MetricWords:
    """The task's metric and its further figures, for people: each a name, the float model's value and the other's."""

    value: str
    unit: str
    beside: str
    figures: list[tuple[str, str, str, str]]


@dataclass(frozen=True, slots=True)
class TargetSection:
    """One target as the template shows it."""

    part: TargetFacts
    table: list[OperatorRow]
    roof: Roof | None
    accuracy: Markup
    errors: Markup
    errors_title: str
    errors_note: str
    signal: Markup | None
    roofline: Markup | None
    sizes: Markup
    advice: list[str]
    metric: MetricWords
    pictures: list[Markup]


def render(facts: Facts) -> str:
    """The report as HTML."""
    sections = [_section(facts, part) for part in facts.targets]
    words: str = _template().render(facts=facts, sections=sections)
    return words


def _section(facts: Facts, part: TargetFacts) -> TargetSection:
    roof = roof_of(facts, part)
    limit = least_db(facts.recipe.budget.least_sqnr_db)
    table = rows(part, roof, limit, accelerator_of(facts))
    title, drawing, note = _errors(facts, part)
    return TargetSection(
        part=part,
        table=table,
        roof=roof,
        accuracy=figures.accuracy(part.quality, facts.recipe.budget.min_accuracy, part.form),
        errors=drawing,
        errors_title=title,
        errors_note=note,
        signal=figures.signal(part.layers, limit) if part.layers else None,
        roofline=figures.roofline(roof, [row.cost for row in table]) if roof else None,
        sizes=figures.sizes(_sizes(facts, part)),
        advice=changes_to_make(facts, part, table),
        metric=_metric(part.quality),
        pictures=[draw(one, facts.recipe.labels.names, f"{part.target}-{at}") for at, one in enumerate(part.pictures)],
    )


def _metric(quality: Quality) -> MetricWords:
    value, _, unit = (shown(quality, quality.int8_value)).replace("%", " %").partition(" ")
    beside = "the source was already quantized: no float model"
    if quality.float_value is not None:
        lost = loss(quality.float_value, quality.int8_value, quality.better)
        points = f"{lost * 100:.2f} points" if not quality.unit else shown(quality, lost)
        beside = f"{shown(quality, quality.float_value)} in float, " + (f"{points} lost" if lost > 0 else "no loss")
    beside += "; lower is better" if quality.better == "lower" else ""
    return MetricWords(value, unit, beside, [_figure(one) for one in quality.figures])


def _figure(one: Figure) -> tuple[str, str, str, str]:
    def words(value: float | None) -> str:
        return "–" if value is None else in_its_unit(value, one.unit)

    return one.name, words(one.float_value), words(one.int8_value), "lower is better" if one.better == "lower" else ""


def _errors(facts: Facts, part: TargetFacts) -> tuple[str, Markup, str]:
    """What the model gets wrong: classes confused with each other, or values that differ from the float model's."""
    name, got = next(iter(part.score.outputs.items()))
    counts = confusion_counts(part.score, facts.recipe.meaning) if facts.recipe.task == "classification" else None
    if counts is None and part.reference is None:
        return (
            f"Values of {name}",
            Markup(),
            "The source was already quantized: there is no float model to compare with.",
        )
    if counts is None:
        assert part.reference is not None
        reference = next(iter(part.reference.outputs.values()))
        note = f"Up to {figures.POINTS} values, evenly over the range; points on the diagonal have no error."
        return f"Values of {name}", figures.errors(reference, got, name), note
    labels = _labels(facts.recipe.labels.names, len(counts))
    worst = confused(counts, labels)
    note = f"Most frequent: {', '.join(worst)}." if worst else "No sample was misclassified."
    return "Confusion matrix", figures.confusion(counts, labels), note


def _labels(names: Sequence[str], classes: int) -> Sequence[str]:
    return names if len(names) == classes else [str(number) for number in range(classes)]


def _sizes(facts: Facts, part: TargetFacts) -> list[tuple[str, list[tuple[str, int]]]]:
    files = [(part.form, part.graph.parameter_bytes, part.quality.int8_bytes)]
    if part.quality.float_bytes is not None:
        files.insert(0, ("float", facts.float_graph.parameter_bytes, part.quality.float_bytes))
    return [
        (name, [("parameters", weights), ("structure, names, quantization", max(0, total - weights))])
        for name, weights, total in files
    ]


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("skerry_host.builder.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = _count
    environment.filters["micros"] = _micros
    return environment.get_template(NAME)


def _count(value: float) -> str:
    """A number for people, in powers of 1000."""
    for unit in ("", "k", "M"):
        if value < 1000:
            return f"{value:.0f}{unit}" if value >= 100 or not unit else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f}G"


def _micros(value: float) -> str:
    """Microseconds for people."""
    if value < 1000:
        return f"{value:.1f} µs" if value < 100 else f"{value:.0f} µs"
    return f"{value / 1000:.1f} ms"
