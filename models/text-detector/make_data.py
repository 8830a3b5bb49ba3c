"""Draws small pages with lines of text: the samples of this recipe.

Needs Pillow and Debian's fonts-dejavu and fonts-liberation:

python models/text-detector/make_data.py
"""

import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIZE = 160
FONTS = sorted(Path("/usr/share/fonts/truetype").glob("*/*.ttf"))
WORDS = [
    "island", "shore", "tide", "harbour", "rock", "ferry", "anchor", "gull", "pilot", "north", "fog", "signal",
    "mast", "invoice", "42", "open", "gate", "platform", "9",
]  # fmt: skip


def page(rng: random.Random) -> np.ndarray:
    """One page (160, 160), grey in steps of 16 so that it packs well."""
    paper = rng.randrange(96, 256, 16)
    image = Image.new("L", (SIZE, SIZE), paper)
    draw = ImageDraw.Draw(image)
    y = rng.randint(2, 30)
    while y < SIZE - 20:
        font = ImageFont.truetype(str(rng.choice(FONTS)), rng.randint(11, 26))
        text = " ".join(rng.choices(WORDS, k=rng.randint(1, 3)))
        draw.text((rng.randint(0, 40), y), text, fill=max(0, paper - rng.randint(90, 200)), font=font)
        y += font.size + rng.randint(6, 40)
    return np.asarray(image) // 16 * 16


if __name__ == "__main__":
    for name, count, seed in (("calibration", 100, 1), ("evaluation", 60, 2)):
        rng = random.Random(seed)
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), inputs=np.stack([page(rng) for _ in range(count)]))
