"""Inputs for the zoo's models: drawn, rendered, spoken or cut out of photographs, with what is right where known.

Each maker gives arrays for a recipe's .npz; `seed` decides which, so that calibration and evaluation never meet. Needs
Pillow, scikit-learn's two photographs and the packages of zoo_photographs; `speech` and `wake` need espeak-ng.
"""

import os
import random
import subprocess
import wave
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from zoo_drawn import hand
from zoo_photographs import Arrays, face_crops, faces, people, photographs, photos, varied
from zoo_tools import PROJECT

Maker = Callable[[int, int], Arrays]
"""From how many samples and a seed."""

RATE = 16000
PITCH_RATE = 22050
FRAMES = PITCH_RATE / 256
WORDS = [
    "island",
    "shore",
    "tide",
    "harbour",
    "rock",
    "ferry",
    "anchor",
    "gull",
    "pilot",
    "north",
    "fog",
    "signal",
    "mast",
    "invoice",
    "open",
    "gate",
    "platform",
    "water",
    "licence",
    "keeper",
    "winter",
    "supper",
    "ledger",
    "letter",
    "bottle",
    "engine",
    "window",
    "yellow",
    "seven",
    "eleven",
    "total",
    "price",
    "street",
    "number",
]


def eyes(count: int, seed: int) -> Arrays:
    """Drawn eyes with brows, each in the middle of its crop as the model wants it (N, 64, 64, 3)."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        tone, image = rng.uniform(0.35, 1.0), Image.fromarray(varied(rng.choice(photographs()), rng, (128, 128)))
        skin = tuple(int(part * tone) for part in (255, 214, 180))
        image = Image.blend(image, Image.new("RGB", image.size, skin), rng.uniform(0.75, 0.95))
        draw, x, y = ImageDraw.Draw(image), 64 + rng.uniform(-8, 8), 68 + rng.uniform(-8, 8)
        wide, high, gaze = rng.uniform(28, 40), rng.uniform(9, 17), rng.uniform(-10, 10)
        iris = (rng.randint(30, 120), rng.randint(30, 110), rng.randint(20, 130))
        round_, shade = min(high + 2, 16), tuple(int(part * 0.7) for part in skin)
        for dx, dy, w, h, colour in (
            (0, 0, wide + 3, high + 3, shade), (0, 0, wide, high, (240, 238, 235)), (gaze, 0, round_, round_, iris),
            (gaze, 0, round_ / 2.2, round_ / 2.2, (10, 10, 10)), (gaze - 4, -4, 2, 2, (255, 255, 255)),
            (0, -high - 16, wide * 1.15, 4, (50, 35, 25)),
        ):  # fmt: skip
            draw.ellipse([x + dx - w, y + dy - h, x + dx + w, y + dy + h], fill=colour)
        made.append(np.asarray(image.rotate(rng.uniform(-15, 15)).resize((64, 64))))
    return {"inputs": np.stack(made)}


def hands(count: int, seed: int) -> Arrays:
    """Drawn hands, every fourth one a piece of a photograph without any (N, 224, 224, 3)."""
    rng, made = random.Random(seed), []
    for at in range(count):
        behind = varied(rng.choice(photographs()), rng, (224, 224))
        made.append(behind if at % 4 == 3 else hand(rng, Image.fromarray(behind)))
    return {"inputs": np.stack(made)}


@cache
def fonts() -> list[str]:
    """Fonts with Latin letters."""
    return [str(path) for path in sorted(Path("/usr/share/fonts/truetype").glob("*/*.ttf")) if "Mono" not in path.name]


def _line(rng: random.Random, text: str) -> Image.Image:
    """Text 48 pixels high, dark on light or light on dark."""
    font = ImageFont.truetype(rng.choice(fonts()), rng.randint(26, 34))
    left, top, right, bottom = (int(n) for n in font.getbbox(text))
    paper, ink = (rng.randint(170, 255), rng.randint(0, 80)) if rng.random() < 0.8 else (rng.randint(0, 60), 230)
    image = Image.new("L", (right - left + 16, 48), paper)
    ImageDraw.Draw(image).text((8 - left, (48 - bottom + top) // 2 - top), text, fill=ink, font=font)
    return image


def lines(count: int, seed: int) -> Arrays:
    """Lines of printed text (N, 48, 320) and what stands there."""
    rng, images, texts = random.Random(seed), [], []
    while len(images) < count:
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 3)))
        image = _line(rng, text)
        if image.width <= 320:
            page = Image.new("L", (320, 48), image.getpixel((0, 0)))
            page.paste(image, (0, 0))
            images.append(np.asarray(page))
            texts.append(text)
    return {"inputs": np.stack(images), "texts": np.array(texts)}


def lines_turned(count: int, seed: int) -> Arrays:
    """Lines of printed text (N, 48, 192), every other one upside down: class 1."""
    rng, images = random.Random(seed), []
    labels = np.arange(count) % 2
    for label in labels:
        image = _line(rng, " ".join(rng.choices(WORDS, k=2))).resize((192, 48))
        images.append(np.asarray(image.rotate(180) if label else image))
    return {"inputs": np.stack(images), "labels": labels.astype(np.int64)}


def pages(count: int, seed: int) -> Arrays:
    """Small pages of text (N, 160, 160) and where it stands, as masks."""
    rng, images, masks = random.Random(seed), [], []
    for _ in range(count):
        paper = rng.randint(96, 255)
        image, mask = Image.new("L", (160, 160), paper), Image.new("L", (160, 160), 0)
        draw, truth = ImageDraw.Draw(image), ImageDraw.Draw(mask)
        y = rng.randint(2, 30)
        while y < 140:
            font = ImageFont.truetype(rng.choice(fonts()), rng.randint(11, 26))
            text, x = " ".join(rng.choices(WORDS, k=rng.randint(1, 3))), rng.randint(0, 40)
            draw.text((x, y), text, fill=max(0, paper - rng.randint(90, 200)), font=font)
            truth.rectangle(draw.textbbox((x, y), text, font=font), fill=1)
            y += int(font.size) + rng.randint(6, 40)
        images.append(np.asarray(image))
        masks.append(np.asarray(mask))
    return {"inputs": np.stack(images), "masks": np.stack(masks)}


KINDS = {
    ".py": "python", ".md": "markdown", ".toml": "toml", ".so": "elf", ".png": "png", ".json": "json", ".html": "html",
    ".gz": "gzip", ".c": "c", ".h": "c", ".pyc": "pythonbytecode", ".txt": "txt", ".ttf": "ttf",
}  # fmt: skip
"""What magika calls files of these suffixes."""


def files(count: int, seed: int) -> Arrays:
    """The first and last bytes of real files, as magika reads them (N, 2048), and what their suffix says they are.

    256 stands for no byte.
    """
    rng, found = random.Random(0), []
    for folder in (Path(os.__file__).parent, PROJECT / "docs", Path("/usr/include"), Path("/usr/share/fonts")):
        there = sorted(path for path in folder.rglob("*") if path.suffix in KINDS and path.is_file())
        for suffix in KINDS:
            found += [path for path in there if path.suffix == suffix and path.stat().st_size > 64][:60]
    rng.shuffle(found)
    chosen = found[seed % 2 :: 2][:count]
    rows = []
    for path in chosen:
        data = path.read_bytes().strip()
        begin, end = data[:1024], data[-1024:]
        rows.append([*begin, *[256] * (1024 - len(begin)), *[256] * (1024 - len(end)), *end])
    return {"inputs": np.array(rows, np.int32), "labels": np.array([KINDS[path.suffix] for path in chosen])}


def notes(count: int, seed: int) -> Arrays:
    """Two seconds of plucked notes and chords at 22,050 Hz (N, 43844, 1), and which of 88 keys sounds in each frame."""
    rng, rows = random.Random(seed), []
    time, labels = np.arange(43844) / PITCH_RATE, np.zeros((count, 172, 88), np.uint8)
    for row in range(count):
        sound = np.zeros_like(time)
        for _note in range(rng.randint(1, 6)):
            start, key, long = rng.uniform(0, 1.5), rng.randint(24, 72), rng.uniform(0.3, 1.0)
            after = np.clip(time - start, 0, None)
            tone = sum(np.sin(2 * np.pi * 27.5 * 2 ** (key / 12) * k * after) / k**1.5 for k in range(1, 7))
            fade = np.clip((start + long - time) / 0.03, 0, 1)
            sound += (time >= start) * tone * fade * np.exp(-after * rng.uniform(1, 3)) * rng.uniform(0.05, 0.3)
            labels[row, round(start * FRAMES) : round((start + long) * FRAMES), key] = 1
        sound += np.random.default_rng(rng.randrange(2**32)).normal(0, 0.003, len(time))
        rows.append(np.clip(sound, -1, 1).astype(np.float32)[:, None])
    return {"inputs": np.stack(rows), "labels": labels}


VOICES = ["en-us", "en-gb", "en-us+f3", "en-gb+f2", "en-us+m3", "en-gb+m5", "de", "fr"]


def _speak(text: str, voice: str, speed: int) -> np.ndarray[Any, Any]:
    """Speech at 16 kHz in -1..1."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", text]
    with wave.open(BytesIO(subprocess.run(command, capture_output=True, check=True).stdout)) as file:
        sound, rate = np.frombuffer(file.readframes(10**7), np.int16) / 32768, file.getframerate()
    return np.interp(np.arange(0, len(sound) - 1, rate / RATE), np.arange(len(sound)), sound).astype(np.float32)


def _stream(seconds: float, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Speech and noise in turn at 16 kHz, and where somebody speaks."""
    rng, sounds, spoken = random.Random(seed), [], []
    noise = np.random.default_rng(seed)
    while sum(map(len, sounds)) < seconds * RATE:
        quiet = noise.normal(0, rng.uniform(0.0005, 0.01), int(RATE * rng.uniform(0.4, 1.2))).astype(np.float32)
        words = _speak(" ".join(rng.choices(WORDS, k=4)), rng.choice(VOICES), rng.randint(130, 190)) * rng.uniform(
            0.3, 1
        )
        words = words + noise.normal(0, 0.002, len(words)).astype(np.float32)
        sounds += [quiet, words]
        spoken += [np.zeros(len(quiet)), np.ones(len(words))]
    return np.concatenate(sounds), np.concatenate(spoken)


def speech(count: int, seed: int) -> Arrays:
    """Windows of 32 ms with the 4 ms before (N, 576), states of zeros, and whether somebody speaks (N, 1)."""
    sound, spoken = _stream(count * 512 / RATE + 2, seed)
    rows = np.stack([sound[at * 512 : at * 512 + 576] for at in range(count)])
    labels = np.stack([spoken[at * 512 + 64 : at * 512 + 576].mean(keepdims=True) > 0.5 for at in range(count)])
    return {"input_input": rows, "labels": labels.astype(np.uint8)}


def wake(_count: int, seed: int) -> Arrays:
    """The stream of spoken windows (N, 3, 40) of models/wake-word, whole and in its order: the model remembers."""
    with np.load(PROJECT / "models" / "wake-word" / f"{'calibration' if seed == 1 else 'evaluation'}.npz") as stored:
        return {"inputs": stored["inputs"]}


def clothes(count: int, seed: int) -> Arrays:
    """Fashion-MNIST (N, 28, 28) and its classes: Debian's dataset-fashion-mnist."""
    import gzip  # noqa: PLC0415  (here only)

    folder = Path("/usr/share/datasets/fashion-mnist")
    with (
        gzip.open(folder / "t10k-images-idx3-ubyte.gz") as images,
        gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as labels,
    ):
        pixels = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 28, 28)
        classes = np.frombuffer(labels.read(), np.uint8, offset=8)
    order = np.random.default_rng(0).permutation(len(pixels))  # one order, of which every seed has its own part
    start = {1: 9400, 2: 9700}.get(seed, 0)
    chosen = order[start : start + count]
    return {"inputs": pixels[chosen], "labels": classes[chosen].astype(np.int64)}


MAKERS: dict[str, Maker] = {
    "photos": photos, "faces": faces, "face-crops": face_crops, "eyes": eyes, "hands": hands, "people": people,
    "lines": lines, "lines-turned": lines_turned, "pages": pages,
    "files": files, "notes": notes, "speech": speech, "wake": wake, "clothes": clothes,
}  # fmt: skip
