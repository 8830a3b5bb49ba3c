"""Speaks phrases with a synthesizer and keeps their spectral features: samples without a recording of anybody.

Needs Debian's espeak-ng and the package pymicro-features, the front end that the model was trained with:

    python models/wake-word/make_data.py
"""

import random
import subprocess
import wave
from io import BytesIO
from pathlib import Path

import numpy as np
from pymicro_features import MicroFrontend

RATE = 16000
CHUNK = 160
STRIDE = 3
WAKE = "hey jarvis"
OTHER = [
    "hello there",
    "turn on the light",
    "what time is it",
    "hey Travis",
    "good morning",
    "stop the music",
    "say jar",
]
VOICES = ["en-us", "en-gb", "en-gb-scotland", "en-us+f3", "en-gb+f2", "en-us+m3", "en-gb+m5", "en-us+f5"]


def speak(text: str, voice: str, speed: int) -> np.ndarray:
    """Speech as 16-bit samples at 16 kHz."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    with wave.open(BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)) as file:
        # The header of a stream has no length: take what is there.
        sound, rate = np.frombuffer(file.readframes(10**7), np.int16), file.getframerate()
    at = np.arange(0, len(sound) - 1, rate / RATE)
    return np.interp(at, np.arange(len(sound)), sound).astype(np.int16)


def features(sound: np.ndarray) -> np.ndarray:
    """Rows of 40 features, one for each 10 ms."""
    front, rows = MicroFrontend(), []
    for start in range(0, len(sound) - CHUNK, CHUNK):
        row = front.process_samples(sound[start : start + CHUNK].tobytes()).features
        rows += [row] if row else []
    return np.array(rows, np.float32)


def stream(skip: int, count: int, seed: int) -> np.ndarray:
    """`count` windows (3, 40) of a stream of phrases, a third of them the wake word, as tenths in one byte."""
    rng, sounds = random.Random(seed), []
    for at in range(400):
        quiet = np.array([rng.gauss(0, 80) for _ in range(RATE // 3)], np.int16)
        text = WAKE if at % 3 == 0 else rng.choice(OTHER)
        sounds += [quiet, speak(text, rng.choice(VOICES), rng.randint(130, 190))]
        if sum(map(len, sounds)) > (skip + count + 10) * STRIDE * CHUNK:
            break
    rows = features(np.concatenate(sounds))
    windows = rows[skip * STRIDE : (skip + count) * STRIDE].reshape(count, STRIDE, 40)
    return np.clip(np.rint(windows * 10), 0, 255).astype(np.uint8)


if __name__ == "__main__":
    for name, skip, count, seed in (("calibration", 0, 500, 1), ("evaluation", 300, 1000, 2)):
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), inputs=stream(skip, count, seed))
