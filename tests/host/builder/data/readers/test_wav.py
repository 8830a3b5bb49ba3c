"""Sound as people have it: of every depth, as int16 of one length; what was done to it is said."""

import numpy as np
import pytest

from skerry_host.builder.data.readers import riff
from skerry_host.builder.data.readers.base import DamagedError, UnusableDataError, Wanted
from skerry_host.builder.data.readers.wav import read
from tests.kit.datasets import float_sound, plan, problem, sound

TONE = np.sin(np.arange(400) / 5) * 0.5


def wanted(task="classification", names=(), window=400, **keys):
    return Wanted(task, tuple(names), plan(**keys), ((1, window),))


@pytest.mark.parametrize(("bits", "steps"), [(8, 300), (16, 1), (24, 1), (32, 1)])
def test_every_depth_becomes_16_bits(tmp_path, bits, steps):
    values = riff.decode(sound(tmp_path / "x.wav", TONE, bits=bits))
    assert values.dtype == np.int16
    assert np.abs(values - TONE * 32768).max() <= steps + 1


@pytest.mark.parametrize("extensible", [False, True])
def test_floating_point_and_the_extensible_form_are_read(tmp_path, extensible):
    (tmp_path / "x.wav").write_bytes(float_sound(TONE, extensible=extensible))
    assert np.abs(riff.decode(tmp_path / "x.wav") - TONE * 32768).max() <= 1


def test_several_channels_become_their_mean_and_it_is_said(tmp_path):
    both = np.stack([TONE, np.zeros(400)], axis=1)
    sound(tmp_path / "a" / "x.wav", both, channels=2)
    found = read(tmp_path, wanted())
    assert np.abs(found.inputs[0][0] - TONE * 16384).max() <= 1
    assert found.inputs.remarks() == ["1 WAV files of 2 channels, as their mean"]


def test_folders_are_classes_and_lengths_are_made_equal_and_said(tmp_path):
    sound(tmp_path / "yes" / "short.wav", TONE[:100])
    sound(tmp_path / "no" / "long.wav", np.tile(TONE, 3))
    found = read(tmp_path, wanted())
    assert found.names == ("no", "yes")
    assert list(found.truth) == [0, 1]
    assert [found.inputs[at][0].shape for at in range(2)] == [(400,), (400,)]
    assert not found.inputs[1][0][100:].any()
    assert found.inputs.remarks() == [
        "1 WAV files longer than the model's input, cut at its end",
        "1 WAV files shorter than the model's input, padded with zeros",
    ]


@pytest.mark.parametrize(
    ("task", "header", "labels", "truth"),
    [
        ("classification", "filename,label", ["dog", "cat"], [1, 0]),
        ("multilabel", "file;tags", ["dog|cat", ""], [[1, 1], [0, 0]]),
        ("sequence", "path,text", ["hello", "good bye"], ["hello", "good bye"]),
    ],
)
def test_a_table_says_what_is_right(tmp_path, task, header, labels, truth):
    separator = ";" if ";" in header else ","
    rows = [f"{name}{separator}{label}" for name, label in zip(("clips/a.wav", "b.wav"), labels, strict=True)]
    sound(tmp_path / "clips" / "a.wav", TONE)
    sound(tmp_path / "clips" / "b.wav", TONE[::-1])
    (tmp_path / "meta.csv").write_text("\n".join([header, *rows, f"gone.wav{separator}cat"]), "utf-8")
    found = read(tmp_path, wanted(task))
    assert [one.tolist() if task == "multilabel" else one for one in found.truth] == truth
    assert found.damaged == ("meta.csv:4: there is no file 'gone.wav'",)


def test_another_rate_than_the_others_is_named_not_resampled(tmp_path):
    for name in ("a", "b"):
        sound(tmp_path / "x" / f"{name}.wav", TONE)
    sound(tmp_path / "x" / "c.wav", TONE, rate=44100)
    found = read(tmp_path, wanted())
    assert [problem(found.inputs, at) for at in range(3)] == [
        "",
        "",
        "has 44,100 samples a second, not 16,000: resample it",
    ]


def test_a_rate_that_no_file_has_is_refused_at_once_with_what_to_do(tmp_path):
    """Each file was told to have another rate than "the others", which had the same."""
    sound(tmp_path / "x" / "a.wav", TONE)
    words = r"have 16,000 samples a second, \[data\] sample_rate says 8,000; .* -ar 8000"
    with pytest.raises(UnusableDataError, match=words):
        read(tmp_path, wanted(sample_rate=8000))


DAMAGED = {
    "a text": (b"hello", "is no WAV file"),
    "empty": (b"", "is no WAV file"),
    "cut off": (float_sound(TONE)[:-100], "is cut off"),
    "without samples": (float_sound(TONE)[:36], "without samples"),
    "NaN": (float_sound([0, np.nan]), "NaN"),
    "packed": (float_sound(TONE).replace(b"\x03\x00\x01\x00", b"\x11\x00\x01\x00"), "of format 17"),
    "without a format": (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "before it says in which format"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_file_that_cannot_be_read_is_damaged(tmp_path, case):
    content, reason = DAMAGED[case]
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DamagedError, match=reason):
        riff.decode(tmp_path / "x.wav")


def test_a_folder_of_files_that_are_none_is_refused(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"?")
    with pytest.raises(UnusableDataError, match="none is a WAV file"):
        read(tmp_path, wanted())
