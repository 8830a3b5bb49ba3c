"""docs/zoo.md out of the zoo's results. Measures nothing."""

from zoo_animal import Animal
from zoo_result import Made, Result

HEAD = """# The zoo

Real models out of packages that install, networks trained for it, and architectures with made-up weights (for the
conversion only), each built by the recipe that a user would write, on one machine, model by model, beside other tools:
TensorFlow's TFLiteConverter, litert-quantizer alone, and onnxruntime's quantize_static, with their defaults.
`python benchmarks/zoo.py --page docs/zoo.md` writes this page.

The figure is the task's own where what is right is known (rendered text, spoken words, Fashion-MNIST), else the
agreement with the float model, and is called so (agreement, matched boxes, same points, matched pixels). All files
are judged on the same evaluation samples, which no calibration has seen. One budget for all, fixed beforehand: 1
point, or 2 % of the float model's figure. *ms* are of one thread of an x86 core that others use, too: compare them
within a row only. Where a file is much slower than the float one its layers have activations of 16 bit, for which
TFLite has no fast kernels: its gain is the size, and `keep_float` or `activations = "float"` may suit a device better.
*Edge TPU*: operators that the preflight predicts to map. *(broken)*: the file runs, over the budget. *(int16)*: the
build was refused in 8 bits, its advice was taken. *(onnx)*: the ONNX bundle.

Faces and people are cut out of the few photographs that packages have, those at whom float models themselves hesitate
left out (`benchmarks/zoo_photographs.py`); hands and eyes are drawn. Results are kept model by model, so rows may be
of different days and commits; `--again` makes them anew.
"""


def page(results: list[Result], animals: dict[str, Animal]) -> str:
    """docs/zoo.md: the table, what was reached, and every refusal with its cause."""
    parts = [HEAD, table(results), _summary(results, len(animals)), "## Refused\n"]
    for r in results:
        if r.right is None and r.verdict != "converted":
            said = next((m.problem for m in r.ours if m.problem), r.problem)
            checked = animals[r.name].checked
            parts.append(
                f"- **{r.name}**: {said.removeprefix(f'build of {r.name} refused: ').split('; try:')[0]}"
                + (f" *Checked*: {checked}" if checked else "")
                + "\n"
            )
    return "\n".join(parts)


def _summary(results: list[Result], known: int) -> str:
    tried = [r for r in results if r.value is not None]
    built = sum(r.right is not None for r in tried)
    rest = known - len(results)
    more = f" The other {rest} entries of `benchmarks/zoo_models.py` have no result yet." if rest else ""
    return f"{built} of {len(tried)} models with a figure are built within the budget.{more}\n"


def table(results: list[Result]) -> str:
    """A row for each model."""
    lines = [
        (
            "| model | figure | float | ours | int8 | MB | ms | ms float | Edge TPU"
            " | TFLiteConverter | bare quantizer | onnxruntime |"
        ),
        "|---|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in results:
        best = r.right or next(iter(r.ours), None) or Made("skerry")
        by_tool = {peer.tool: peer for peer in r.peers}
        cells = [_cell(r, by_tool.get(tool)) for tool in ("tensorflow", "quantizer", "onnxruntime")]
        size = f"{best.bytes / 1e6:.2f}" if best.bytes else ""
        ms, float_ms = (f"{time:.3g}" if time else "" for time in (best.ms, r.float_ms))
        ours = f"{r.verdict}{_other_form(r)}"
        figures = (r.name, r.metric, _number(r.value), ours, _number(best.value), size, ms, float_ms, best.mapped)
        lines.append(f"| {' | '.join([*figures, *cells])} |")
    return "\n".join(lines) + "\n"


def _other_form(result: Result) -> str:
    """What of ours was taken, where it is not the plain one."""
    form = result.right.tool.removeprefix("skerry cpu").removeprefix("skerry ").strip() if result.right else ""
    return f" ({form})" if form else ""


def _cell(result: Result, made: Made | None) -> str:
    if made is None:
        return "-"
    if made.value is None:
        return "fails"
    return _number(made.value) + ("" if result.within(made) else " (broken)")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
