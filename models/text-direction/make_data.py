"""Renders lines of text, half of them upside down: the samples of this recipe.

Needs Pillow and Debian's fonts-dejavu and fonts-liberation:

    python models/text-direction/make_data.py
"""

import random
import string
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HEIGHT, WIDTH = 48, 192
FONTS = sorted(Path("/usr/share/fonts/truetype").glob("*/*.ttf"))
WORDS = [
    "island", "shore", "tide", "harbour", "rock", "lighthouse", "ferry", "anchor", "current", "gull", "pilot",
    "channel", "north", "south", "fog", "signal", "keeper", "mast", "number", "42", "total", "invoice", "date",
    "street", "17", "open", "closed", "exit", "stairs", "gate", "platform", "9", "warning", "battery", "charge",
    "error", "model",
]  # fmt: skip


def line(rng: random.Random) -> np.ndarray:
    """One line of text as it is read (48, 192), grey levels in steps of 8 so that it packs well."""
    font = ImageFont.truetype(str(rng.choice(FONTS)), rng.randint(22, 34))
    text = " ".join(rng.choices(WORDS, k=rng.randint(1, 3)))
    text = rng.choice([str.lower, str.title, str.upper])(text)
    if rng.random() < 0.2:
        text = "".join(rng.choices(string.digits + "-/:. ", k=rng.randint(5, 12)))
    left, top, right, bottom = font.getbbox(text)
    ink, paper = sorted(rng.sample(range(0, 256, 8), 2), key=lambda v: abs(v - 128), reverse=True)
    ink = paper - 128 if abs(ink - paper) < 96 else ink
    image = Image.new("L", (right - left + 12, bottom - top + 10), paper)
    ImageDraw.Draw(image).text((6 - left, 5 - top), text, fill=ink % 256, font=font)
    width = min(WIDTH, max(1, round(image.width * HEIGHT / image.height)))
    made = np.full((HEIGHT, WIDTH), paper, np.uint8)
    made[:, :width] = np.asarray(image.resize((width, HEIGHT), Image.Resampling.BILINEAR))
    return made // 8 * 8


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` samples and their labels: 0 as read, 1 turned by 180 degrees."""
    rng = random.Random(seed)
    labels = np.arange(count) % 2
    samples = [line(rng)[:: -1 if label else 1, :: -1 if label else 1] for label in labels]
    return np.stack(samples), labels.astype(np.uint8)


if __name__ == "__main__":
    for name, count, seed in (("calibration", 160, 1), ("evaluation", 190, 2)):
        inputs, labels = draw(count, seed)
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), inputs=inputs, labels=labels)
