"""Reports as bytes: both forms are pinned by golden files, come back as they were, and are refused in one line."""

import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from skerry_agent.meters.power import ModelledPower, Window
from skerry_agent.wire import codec, report_forms, report_limits, report_words
from skerry_agent.wire.errors import WireError
from skerry_agent.wire.report_forms import decode_report, encode_report
from skerry_agent.wire.sketch import MAX_INDEX, Recorder, Sketch, pack_sketch, unpack_sketch
from skerry_agent.wire.telemetry import ModelStats, Report, Sample
from tests.kit.reports import typical_report

GOLDEN = Path(__file__).parent / "golden"
JSON_FILE, PACKED_FILE = GOLDEN / "telemetry.v1.json", GOLDEN / "telemetry.v2.bin"
PINNED = Report(
    device="shelf-01",
    boot="0123456789abcdef",
    sequence=4711,
    started=1_700_000_000.25,
    uptime_s=86_400.125,
    duration_s=60.001,
    models=(
        ModelStats(
            "fashion",
            "fashion@1.1.0",
            500,
            1,
            invalid_outputs=2,
            dropped=3,
            latency=Sketch({"-3": 1, "233": 400, "240": 65, "300": 31}, 3, 51_000.5),
            load_us=12_345.0,
            rss_bytes=61_865_984,
            energy_uj=120.525,
            energy_source="modelled",
            energy_method="1.1 W x busy cores, +-30%",
            outputs={"0": 450, "9": 50, "Sandal": 4},
        ),
        ModelStats("door", "door@0.9.0-rc.1", 0, 0),
    ),
    samples=(
        Sample("power", 3.75, "W", "modelled", "2.7 W + 1.1 W x busy cores, +-30%"),
        Sample("temperature", 51.5, "degC", "measured", "cpu-thermal"),
        Sample("memory", 86_437_888.0, "bytes", "measured", "pss, agent and runners"),
        Sample("humidity", 40.25, "%", "measured", "#1 i2c sht31"),
    ),
    outbox_dropped=7,
)
UNCERTAIN = replace(
    PINNED,
    models=(replace(PINNED.models[0], energy_relative_uncertainty=0.31, input_errors=3), *PINNED.models[1:]),
    samples=(PINNED.samples[0], replace(PINNED.samples[1], relative_uncertainty=0.02), *PINNED.samples[2:]),
    started=PINNED.started,
)


def packed(**changes):
    """The packed form of PINNED with fields of its array changed."""
    values = msgspec.msgpack.decode(PACKED_FILE.read_bytes()[1:])
    for place, value in changes.items():
        values[report_forms._Packed.__struct_fields__.index(place)] = value
    return b"\x02" + msgspec.msgpack.encode(values)


def packed_model(**changes):
    values = msgspec.msgpack.decode(PACKED_FILE.read_bytes()[1:])
    model = values[report_forms._Packed.__struct_fields__.index("models")][0]
    for place, value in changes.items():
        model[report_forms._PackedModel.__struct_fields__.index(place)] = value
    return packed(models=[model])


def as_json(**changes):
    """The JSON form of PINNED with fields changed by their paths, `models.0.errors` for instance."""
    message = msgspec.json.decode(codec.encode(PINNED))
    for path, value in changes.items():
        *parents, last = path.split("__")
        holder = message
        for part in parents:
            holder = holder[int(part) if part.isdecimal() else part]
        holder[last] = value
    return msgspec.json.encode(message)


# -- what is in the field stays readable ---------------------------------------------------------------------------


def test_the_packed_form_is_pinned():
    assert decode_report(PACKED_FILE.read_bytes()) == PINNED
    assert encode_report(PINNED) == PACKED_FILE.read_bytes()


def test_input_errors_travel_in_both_forms():
    """Behind all that hosts of before know; a report without any is as long as it was."""
    model = replace(PINNED.models[1], errors=1, input_errors=2)
    report = replace(PINNED, models=(PINNED.models[0], model))
    assert decode_report(encode_report(report)) == report
    assert decode_report(codec.encode(report)) == report
    assert (GOLDEN / "telemetry_input_errors.v2.bin").read_bytes() == encode_report(report)


def test_a_host_of_before_reads_a_report_with_input_errors():
    values = msgspec.msgpack.decode((GOLDEN / "telemetry_input_errors.v2.bin").read_bytes()[1:])
    model = values[report_forms._Packed.__struct_fields__.index("models")][1]
    known = msgspec.convert(model, report_forms._PackedModel)
    assert (known.model, known.errors) == ("door", 1)


def test_the_json_form_is_read_as_before():
    assert decode_report(JSON_FILE.read_bytes()) == codec.decode(JSON_FILE.read_bytes(), Report)


def test_the_words_of_the_packed_form_are_pinned():
    """A word that moved would turn the temperature of a device in the field into its memory."""
    for form, known in report_words.WORDS_OF_FORM.items():
        lines = (GOLDEN / f"report_words.v{form}.txt").read_text(encoding="utf-8").splitlines()
        assert list(report_words.WORDS[:known]) == lines
    assert report_words.WORDS_OF_FORM[max(report_words.WORDS_OF_FORM)] == len(report_words.WORDS)


def test_fields_of_a_newer_agent_are_ignored():
    values = msgspec.msgpack.decode(encode_report(UNCERTAIN)[1:])
    model = values[report_forms._Packed.__struct_fields__.index("models")][0]
    assert (len(values), len(model)) == (
        len(report_forms._Packed.__struct_fields__),
        len(report_forms._PackedModel.__struct_fields__),
    )
    model.append([[["deep"]]])
    assert decode_report(b"\x02" + msgspec.msgpack.encode([*values, {"new": 1}])) == UNCERTAIN


def test_what_older_hosts_do_not_know_is_at_the_ends_and_changes_nothing_before():
    """A host of before reads the first fields and ignores the rest: the same report without uncertainties."""
    new, old = (msgspec.msgpack.decode(raw[1:]) for raw in (encode_report(UNCERTAIN), PACKED_FILE.read_bytes()))
    place = report_forms._Packed.__struct_fields__.index("models")
    assert new[place][0][: len(old[place][0])] == old[place][0]
    assert [*new[:place], *new[place + 1 : len(old)]] == [*old[:place], *old[place + 1 :]]


@pytest.mark.parametrize("form", [2, 3])
def test_uncertainties_come_back_with_what_they_are_of(form):
    assert decode_report(encode_report(UNCERTAIN, form)) == UNCERTAIN


def test_a_word_that_a_host_of_form_2_does_not_know_is_sent_to_it_as_text():
    report = replace(PINNED, samples=(Sample("undervoltage", 1.0, "1", "measured", "firmware mailbox"),))
    second, third = encode_report(report), encode_report(report, 3)
    assert (b"undervoltage" in second, b"undervoltage" in third) == (True, False)
    assert decode_report(second) == decode_report(third) == report


@pytest.mark.parametrize(
    ("reads", "form"), [((), 1), ((1,), 1), ((1, 2), 2), ((1, 2, 3), 3), ((1, 2, 3, 9), 3), ((9,), 1)]
)
def test_a_report_has_the_best_form_that_its_host_reads(reads, form):
    assert report_forms.best_form(reads) == form


@pytest.mark.parametrize("board", [(2.7, 1.1, 0.3), (5.0, 5.0, 0.8), (2.56, 0.85, 0.5), (12.0, 1e-7, 0.25)])
def test_what_the_meters_say_of_a_board_comes_back_as_it_was(board):
    class Board:
        idle_w, watts_per_core, uncertainty = board
        calibrated, accelerator_w = "", None

    samples = tuple(ModelledPower(Board()).read(Window(10, 3.3)))
    report = replace(PINNED, samples=samples)
    assert [s.method for s in decode_report(encode_report(report)).samples] == [s.method for s in samples]


def test_what_the_meters_always_say_takes_a_byte():
    """Were a text of the meters changed, reports would grow without anyone noticing."""
    samples = {s.method for s in typical_report(inferences=0).samples}
    assert {method for method in samples if report_words.shorten(method) == method and len(method) > 1} <= set(
        report_words.WORDS
    )


# -- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inferences", "most"), [(0, 200), (50, 260), (200, 300), (2000, 400)])
def test_a_report_is_small(inferences, most):
    assert len(encode_report(typical_report(inferences))) <= most


def test_a_report_of_a_board_that_says_all_of_its_supply_is_small():
    """A Raspberry Pi 5: its samples are words of form 3."""
    word = "firmware mailbox + hwmon rpi_volt"
    flags = ("undervoltage", "throttled_now", "undervoltage_since_boot", "throttled_since_boot")
    more = (
        *(Sample(name, 0.0, "1", "measured", word) for name in flags),
        Sample("supply_voltage", 5.08, "V", "measured", "pmic_read_adc EXT5V_V, lowest"),
        Sample("frequency_limit", 1.0, "1", "measured", "cpufreq scaling_max_freq"),
        Sample("accelerator_resets", 0.0, "count", "measured", "usb device numbers, since the agent began"),
    )
    report = typical_report(200)
    samples = tuple(replace(each, relative_uncertainty=0.35) for each in report.samples)
    assert len(encode_report(replace(report, samples=samples + more), 3)) <= 400


# -- there and back --------------------------------------------------------------------------------------------------

number = st.integers(0, 2**40)
text = (
    st.text(max_size=30) | st.sampled_from(report_words.WORDS) | st.from_regex(r"#{0,2}[0-9. #W]{0,12}", fullmatch=True)
)
source = st.sampled_from(["measured", "modelled"])
bucket = st.integers(-MAX_INDEX, MAX_INDEX) | st.integers(200, 260)
sketches = st.builds(
    Sketch,
    st.dictionaries(bucket.map(str), st.integers(1, 70) | st.integers(1, 2**40), max_size=40),
    number,
    st.floats(-1e18, 1e18),
)
stats = st.builds(
    ModelStats,
    model=st.just("fashion"),
    release=st.sampled_from(["fashion@1.0.0", "other@2.0.0-rc.1"]),
    inferences=number,
    errors=number,
    invalid_outputs=number,
    dropped=number,
    latency=sketches,
    load_us=st.none() | number.map(float),
    rss_bytes=st.none() | st.integers(0, 2**50),
    energy_uj=st.none() | st.integers(0, 2**50).map(lambda nj: nj / 1000),
    energy_source=st.none() | source,
    energy_method=text,
    outputs=st.dictionaries(st.integers(0, 1200).map(str) | text, st.integers(1, 2**40), max_size=12),
)
samples = st.builds(Sample, text, st.floats(width=32, min_value=-(2.0**99), max_value=2.0**99), text, source, text)
milliseconds = st.integers(0, 2**40).map(lambda ms: ms / 1000)
reports = st.builds(
    Report,
    device=st.from_regex(r"[a-z0-9-]{3,41}", fullmatch=True),
    boot=st.from_regex(r"[0-9a-f]{16}", fullmatch=True) | st.text(max_size=20),
    sequence=number,
    started=st.floats(-1e11, 1e11),
    uptime_s=milliseconds,
    duration_s=milliseconds,
    models=st.lists(stats, max_size=3).map(tuple),
    samples=st.lists(samples, max_size=6).map(tuple),
    outbox_dropped=number,
)


@given(reports)
def test_a_report_comes_back_as_it_was(report):
    assert decode_report(encode_report(report)) == report
    assert decode_report(codec.encode(report)) == report


@given(sketches)
@example(Sketch())
@example(Sketch({}, 0, 1.5))
@example(Sketch({"0": 1}))
def test_a_sketch_comes_back_as_it_was(sketch):
    assert unpack_sketch(pack_sketch(sketch)) == sketch


@pytest.mark.parametrize("value", [report_limits.MAX_VALUE, -report_limits.MAX_VALUE, 1e30])
def test_the_largest_value_that_is_sent_is_read(value):
    sent = replace(PINNED, samples=(Sample("x", value, "", "measured"),))
    assert decode_report(encode_report(sent)).samples[0].value == pytest.approx(value)


def test_packing_rounds_only_below_what_a_sensor_gives():
    report = replace(PINNED, uptime_s=1.23456, samples=(Sample("power", 3.141592653589793, "W", "measured", "x"),))
    back = decode_report(encode_report(report))
    assert back.uptime_s == 1.235
    assert back.samples[0].value == pytest.approx(3.141592653589793, rel=1e-7)
    assert encode_report(back) == encode_report(report)


@given(st.lists(st.floats(0.01, 1e9), max_size=60), st.floats(0, 1))
def test_quantiles_are_those_of_the_values(values, q):
    recorder = Recorder()
    for value in values:
        recorder.add(value)
    sketch = unpack_sketch(pack_sketch(recorder.take()))
    if not values:
        assert sketch.quantiles(q, 1) == (None, None)
        return
    expected = sorted(values)[int(q * (len(values) - 1))]
    assert sketch.quantiles(q, 1) == (pytest.approx(expected, rel=0.0101), pytest.approx(max(values), rel=0.0101))


# -- bad input -------------------------------------------------------------------------------------------------------

NAN = struct.pack("<f", float("nan"))
ABSURD = {
    "empty": b"",
    "a newer form": b"\x07" + PACKED_FILE.read_bytes()[1:],
    "no form": b"\x00",
    "not json": b"{",
    "a list": b"[]",
    "text": b"hello",
    "only the form": b"\x02",
    "no array": b"\x02\x01",
    "cut off": PACKED_FILE.read_bytes()[:-1],
    "too long": PACKED_FILE.read_bytes() + b"\x00",
    "over the limit": b"\x02" + bytes(300_000),
    "deep": b"\x02" + b"\x91" * 100_000,
    "nan": packed(started=float("nan")),
    "infinite": packed(started=float("inf")),
    "a year that never comes": packed(started=1e300),
    "negative": packed(sequence=-1),
    "negative boot": packed(boot=-1),
    "negative duration": packed(duration_ms=-5),
    "huge": packed(outbox_dropped=2**63),
    "values missing": packed(values=b""),
    "half a value": packed(values=bytes(15)),
    "nan value": packed(values=NAN * 4),
    "a third source": packed(samples=[0, 0, 2, 0], values=bytes(4)),
    "an unknown word": packed(samples=[4000, 0, 0, 0], values=bytes(4)),
    "a text that is not there": packed(samples=[0, 0, 0, -40], values=bytes(4)),
    "too many samples": packed(samples=[0] * 4 * 257, values=bytes(4 * 257)),
    "a long text": packed(texts=["x" * 801]),
    "a shortened text of nothing": packed(texts=["#4000 1"]),
    "a shortened text with words": packed(texts=["#20 one 2"]),
    "a shortened text with too few": packed(texts=["#20 1"]),
    "a device in capitals": packed(device="SHELF-01"),
    "a release that is none": packed_model(release="../x"),
    "counts below 0": packed_model(inferences=-1),
    "counts of classes": packed_model(classes=b"\x01"),
    "a sketch cut off": packed_model(latency=b"123"),
    "a sketch of nan": packed_model(latency=struct.pack("<d", float("nan")) + b"\x00"),
    "a sketch beyond": packed_model(latency=bytes(9) + b"\x80\x80\x02\x01\x00"),
    "a sketch of counts of 0": packed_model(latency=bytes(9) + b"\x02\x00\x00"),
    "a sketch with more to come": packed_model(latency=bytes(9) + b"\x02\x01\x02\x00"),
    "a sketch with too much": packed_model(latency=bytes(9) + b"\x02\x01\x00\x00"),
    "an energy source": packed_model(energy_source=2),
    "json nan": as_json(started="nan"),
    "json huge": as_json(started=1e300),
    "json count": as_json(models__0__errors=2**50),
    "json bucket": as_json(models__0__latency__buckets={"x": 1}),
    "json bucket beyond": as_json(models__0__latency__buckets={"40000": 1}),
    "json bucket of digits": as_json(models__0__latency__buckets={"9" * 5000: 1}),
    "json bucket below 0": as_json(models__0__latency__buckets={"7": -1}),
    "json total": as_json(models__0__latency__total=1e19),
    "json value": as_json(samples__0__value=1e300),
    "json duration": as_json(duration_s=-1),
    "json energy": as_json(models__0__energy_uj=-1.0),
    "json outputs": as_json(models__0__outputs={"a": -1}),
    "json text": as_json(samples__0__method="x" * 500),
}


@pytest.mark.parametrize("payload", ABSURD.values(), ids=ABSURD)
def test_what_is_absurd_is_refused_in_one_line(payload):
    with pytest.raises(WireError, match=r"\w") as refused:
        decode_report(payload)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_a_newer_form_says_who_is_to_be_brought_up_to_date():
    with pytest.raises(WireError, match=r"form 7 .*update the host"):
        decode_report(b"\x07whatever")


@pytest.mark.parametrize(
    "report",
    [
        replace(PINNED, uptime_s=float("nan")),
        replace(PINNED, duration_s=-1.0),
        replace(PINNED, samples=(Sample("power", float("inf"), "W", "measured"),)),
        replace(PINNED, models=(ModelStats("fashion", "fashion@1.0.0", 1, 0, latency=Sketch({"x": 1})),)),
        replace(PINNED, models=(ModelStats("fashion", "fashion@1.0.0", 1, 0, energy_uj=float("nan")),)),
    ],
)
def test_what_nobody_would_read_is_not_sent(report):
    with pytest.raises(WireError):
        encode_report(report)


@st.composite
def mutated(draw):
    raw = bytearray(PACKED_FILE.read_bytes() if draw(st.booleans()) else codec.encode(PINNED))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(raw) - 1))
        kind = draw(st.integers(0, 2))
        if kind == 0:
            raw[place] = draw(st.integers(0, 255))
        elif kind == 1:
            raw[place:place] = draw(st.binary(max_size=3))
        else:
            del raw[place : place + draw(st.integers(1, 8))]
        if not raw:
            return b""
    return bytes(raw)


def test_a_model_that_has_no_name_is_refused_in_json_too():
    """It would be accepted, packed for the registry, and not be read again."""
    report = replace(PINNED, models=(replace(PINNED.models[0], model=" fashion"),))
    with pytest.raises(WireError, match="' fashion' is no model's name"):
        decode_report(codec.encode(report))


@given(mutated() | st.binary(max_size=60).map(lambda raw: b"\x02" + raw))
def test_any_bytes_are_a_report_or_refused(raw):
    """What is taken for a report can be sent again: nothing absurd came through."""
    try:
        report = decode_report(raw)
    except WireError:
        return
    assert decode_report(encode_report(report)).sequence == report.sequence
