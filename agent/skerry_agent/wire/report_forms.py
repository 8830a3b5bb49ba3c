"""Telemetry reports as bytes: the JSON form of the first agents, and the packed one, about a sixth of it. Pure.

A JSON report begins with `{`, every other form with its number as one byte. The packed forms are a MessagePack array
of `_Packed`; fields that are added at the ends of its arrays are ignored by hosts that do not know them, and left out
where they have nothing to say. A form that changes anything else, or adds words (`report_words`), is a new one with a
new number: form 3 is form 2 with more words.

Packing loses what no sensor gives: times but `started` are whole milliseconds, `load_us` whole microseconds,
`energy_uj` and uncertainties thousandths, and values of samples have 24 bits (float32). Counts, sketches and texts are
exact.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from skerry_agent.wire import codec
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.names import MODEL_PATTERN, VERSION_PATTERN, DeviceId, ModelName
from skerry_agent.wire.report_limits import MAX_LARGE, MAX_MODELS, MAX_SAMPLES, MAX_TEXT, check_floats, check_report
from skerry_agent.wire.report_words import WORDS, WORDS_OF_FORM, find_word, lengthen, shorten
from skerry_agent.wire.sketch import issues_of, pack_sketch, unpack_sketch
from skerry_agent.wire.tallies import MAX_NUMBER, pack_tally, unpack_tally
from skerry_agent.wire.telemetry import MeasurementSource, ModelStats, Report, Sample

JSON, PACKED, PACKED_3 = 1, 2, 3
READ = (JSON, PACKED, PACKED_3)
"""The forms that `decode_report` reads."""

_SOURCES: tuple[MeasurementSource, ...] = ("measured", "modelled")
_BOOT_DIGITS, _LABEL_DIGITS = 16, 9
_UNKNOWN = -1
_BLANK = 0x20
"""No JSON begins with a byte below it, except for other blanks."""

_HEX = frozenset("0123456789abcdef")
_Number = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
_Large = Annotated[int, Meta(ge=0, le=MAX_LARGE)]
_Text = Annotated[str, Meta(max_length=2 * MAX_TEXT)]
_Version = Annotated[str, Meta(pattern=rf"^(?:{MODEL_PATTERN[1:-2]}@)?{VERSION_PATTERN[1:]}")]


class _PackedModel(Struct, array_like=True, frozen=True):
    """`release` is the version alone where it is one of `model`; the energy's source is its place in `_SOURCES`.

    `classes` is the tally of outputs that are numbers, `outputs` has all others.
    """

    model: ModelName
    release: _Version
    inferences: _Number
    errors: _Number
    invalid_outputs: _Number
    dropped: _Number
    latency: bytes
    load_us: _Number | None
    rss_bytes: _Large | None
    energy_nj: _Large | None
    energy_source: int
    energy_method: int
    classes: bytes
    outputs: dict[str, _Number]
    energy_uncertainty_permille: _Number | None = None
    input_errors: _Number = 0


class _Packed(Struct, array_like=True, frozen=True):
    """A text is its place in `WORDS`, or -1 - place in `texts`.

    `boot` is the number that its 16 hexadecimal digits are. `samples` has four numbers each: name, unit,
    source, method; their values are float32. `uncertainties_permille` has two numbers for each sample of which the
    uncertainty is known: its place, and the uncertainty.
    """

    device: DeviceId
    boot: int | str
    sequence: _Number
    started: float
    uptime_ms: _Number
    duration_ms: _Number
    outbox_dropped: _Number
    texts: tuple[_Text, ...]
    models: Annotated[tuple[_PackedModel, ...], Meta(max_length=MAX_MODELS)]
    samples: Annotated[tuple[int, ...], Meta(max_length=4 * MAX_SAMPLES)]
    values: bytes
    uncertainties_permille: Annotated[tuple[_Number, ...], Meta(max_length=2 * MAX_SAMPLES)] = ()


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Packed)


def best_form(reads: Iterable[int]) -> int:
    """The form in which a report is smallest, of those that a host reads."""
    return max((form for form in reads if form in READ), default=JSON)


def encode_report(report: Report, form: int = PACKED) -> bytes:
    """A packed form; raises `WireError` for a report that no device makes, and that no host would read."""
    check_report(report)
    texts = _Texts(form)
    packed = _Packed(
        device=report.device,
        boot=_pack_boot(report.boot),
        sequence=report.sequence,
        started=report.started,
        uptime_ms=round(report.uptime_s * 1000),
        duration_ms=round(report.duration_s * 1000),
        outbox_dropped=report.outbox_dropped,
        models=tuple(_pack_model(stats, texts) for stats in report.models),
        samples=tuple(number for sample in report.samples for number in _pack_sample(sample, texts)),
        values=struct.pack(f"<{len(report.samples)}f", *(sample.value for sample in report.samples)),
        texts=tuple(texts.own),
        uncertainties_permille=tuple(_uncertainties(report.samples)),
    )
    fields = _without_defaults(packed)
    fields[_MODELS] = [_without_defaults(model) for model in packed.models]
    return bytes([form]) + _ENCODER.encode(fields)


_MODELS = _Packed.__struct_fields__.index("models")


def _without_defaults(each: Struct) -> list[object]:
    """Its values; those at the end that say nothing are left out, so that reports stay as small as before."""
    values = list(msgspec.structs.astuple(each))
    for default in reversed(each.__struct_defaults__):
        if values[-1] != default:
            break
        values.pop()
    return values


def _uncertainties(samples: Iterable[Sample]) -> Iterator[int]:
    for place, sample in enumerate(samples):
        if sample.relative_uncertainty is not None:
            yield from (place, round(sample.relative_uncertainty * 1000))


def decode_report(payload: bytes) -> Report:
    """A report of any form; raises `WireError` that says what is wrong: malformed, absurd, or of a newer form."""
    form = payload[0] if payload else _BLANK
    if form in {PACKED, PACKED_3}:
        return _unpack(payload)
    if form < _BLANK and form not in b"\t\n\r":
        raise WireError("report", [f"its form {form} is none of those read here, up to {READ[-1]}: update the host"])
    report = codec.decode(payload, Report)
    check_report(report, (issue for stats in report.models for issue in issues_of(stats.latency)))
    return report


class _Texts:
    """Collects the texts of one report that are not in the table."""

    def __init__(self, form: int) -> None:
        self._words = WORDS_OF_FORM[form]
        self._refs: dict[str, int] = {}
        self.own: list[str] = []

    def ref(self, text: str) -> int:
        if text not in self._refs:
            place = find_word(text, self._words)
            if place is None:
                self.own.append(shorten(text, self._words))
                place = -len(self.own)
            self._refs[text] = place
        return self._refs[text]


def _pack_boot(boot: str) -> int | str:
    return int(boot, 16) if len(boot) == _BOOT_DIGITS and set(boot) <= _HEX else boot


def _unpack_boot(boot: int | str) -> str:
    if isinstance(boot, str):
        return boot
    if boot < 0:
        raise WireError("report", [f"boot: {boot} is no boot"])
    return f"{boot:0{_BOOT_DIGITS}x}"


def _pack_sample(sample: Sample, texts: _Texts) -> tuple[int, int, int, int]:
    source = _SOURCES.index(sample.source)
    return texts.ref(sample.name), texts.ref(sample.unit), source, texts.ref(sample.method)


def _pack_model(stats: ModelStats, texts: _Texts) -> _PackedModel:
    return _PackedModel(
        model=stats.model,
        release=stats.release.removeprefix(f"{stats.model}@"),
        inferences=stats.inferences,
        errors=stats.errors,
        invalid_outputs=stats.invalid_outputs,
        dropped=stats.dropped,
        latency=pack_sketch(stats.latency),
        load_us=_rounded(stats.load_us),
        rss_bytes=stats.rss_bytes,
        energy_nj=_rounded(stats.energy_uj, 1000),
        energy_source=_UNKNOWN if stats.energy_source is None else _SOURCES.index(stats.energy_source),
        energy_method=texts.ref(stats.energy_method),
        classes=pack_tally({int(label): count for label, count in stats.outputs.items() if _is_class(label)}),
        outputs={label: count for label, count in stats.outputs.items() if not _is_class(label)},
        input_errors=stats.input_errors,
        energy_uncertainty_permille=_rounded(stats.energy_relative_uncertainty, 1000),
    )


def _rounded(value: float | None, steps: int = 1) -> int | None:
    return None if value is None else round(value * steps)


def _is_class(label: str) -> bool:
    return len(label) <= _LABEL_DIGITS and label.isdecimal() and str(int(label)) == label


def _unpack(payload: bytes) -> Report:
    if len(payload) > codec.MAX_MESSAGE_BYTES:
        raise WireError("report", [f"{len(payload)} bytes are over the limit of {codec.MAX_MESSAGE_BYTES}"])
    try:
        packed = _DECODER.decode(memoryview(payload)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError("report", [str(error)]) from None
    texts = [*map(lengthen, packed.texts)]
    if texts and max(map(len, texts)) > MAX_TEXT:
        raise WireError("report", [f"texts: one is of over {MAX_TEXT} characters"])
    report = Report(
        device=packed.device,
        boot=_unpack_boot(packed.boot),
        sequence=packed.sequence,
        started=packed.started,
        uptime_s=packed.uptime_ms / 1000,
        duration_s=packed.duration_ms / 1000,
        models=tuple(_unpack_model(model, texts) for model in packed.models),
        samples=_unpack_samples(packed, texts),
        outbox_dropped=packed.outbox_dropped,
    )
    check_floats(report)
    return report


def _text(texts: list[str], ref: int) -> str:
    """The text of a reference; raises `WireError` when there is none."""
    if 0 <= ref < len(WORDS):
        return WORDS[ref]
    if -len(texts) <= ref < 0:
        return texts[-1 - ref]
    raise WireError("report", [f"{ref} is no word of this report"])


def _unpack_samples(packed: _Packed, texts: list[str]) -> tuple[Sample, ...]:
    numbers = packed.samples
    if len(numbers) != len(packed.values) or len(numbers) % 4:
        raise WireError("report", [f"samples: {len(numbers)} numbers with {len(packed.values)} bytes of values"])
    values = struct.unpack(f"<{len(packed.values) // 4}f", packed.values)
    columns = numbers[::4], numbers[1::4], numbers[2::4], numbers[3::4], values
    bounds = dict(zip(packed.uncertainties_permille[::2], packed.uncertainties_permille[1::2], strict=False))
    return tuple(
        Sample(
            _text(texts, name), value, _text(texts, unit), _source(source), _text(texts, method), _ratio(bounds.get(n))
        )
        for n, (name, unit, source, method, value) in enumerate(zip(*columns, strict=True))
    )


def _ratio(permille: int | None) -> float | None:
    return None if permille is None else permille / 1000


def _source(place: int) -> MeasurementSource:
    if 0 <= place < len(_SOURCES):
        return _SOURCES[place]
    raise WireError("report", [f"{place} is no source of a measurement"])


def _unpack_model(packed: _PackedModel, texts: list[str]) -> ModelStats:
    classes, counts = unpack_tally(packed.classes)
    release = packed.release if "@" in packed.release else f"{packed.model}@{packed.release}"
    return ModelStats(
        model=packed.model,
        release=release,
        inferences=packed.inferences,
        errors=packed.errors,
        invalid_outputs=packed.invalid_outputs,
        dropped=packed.dropped,
        latency=unpack_sketch(packed.latency),
        load_us=None if packed.load_us is None else float(packed.load_us),
        rss_bytes=packed.rss_bytes,
        energy_uj=None if packed.energy_nj is None else packed.energy_nj / 1000,
        energy_source=None if packed.energy_source == _UNKNOWN else _source(packed.energy_source),
        energy_method=_text(texts, packed.energy_method),
        outputs={**dict(zip(map(str, classes), counts, strict=True)), **packed.outputs},
        input_errors=packed.input_errors,
        energy_relative_uncertainty=_ratio(packed.energy_uncertainty_permille),
    )
