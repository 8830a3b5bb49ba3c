"""Draws scenes with no, one or two faces from ellipses, of every tone of skin: nobody's picture.

Needs Pillow:

python models/face-detector/make_data.py
"""

import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HEIGHT, WIDTH = 96, 128
SKINS = [
    (255, 224, 196),
    (240, 200, 170),
    (224, 180, 150),
    (198, 140, 105),
    (160, 105, 75),
    (110, 70, 50),
    (75, 48, 36),
]
HAIRS = [(30, 25, 20), (60, 40, 30), (120, 80, 45), (200, 170, 110), (150, 150, 150), (140, 60, 30)]


def shade(color: tuple[int, int, int], factor: float) -> tuple[int, ...]:
    """A colour made darker or lighter."""
    return tuple(min(255, int(part * factor)) for part in color)


def face(draw: ImageDraw.ImageDraw, rng: random.Random, x: float, y: float, size: float) -> None:
    """A face around (x, y), `size` the half of its height."""
    skin, hair, light = rng.choice(SKINS), rng.choice(HAIRS), rng.uniform(0.75, 1.15)
    skin = shade(skin, light)
    wide = size * rng.uniform(0.68, 0.82)

    def oval(dx: float, dy: float, w: float, h: float, color: tuple[int, ...]) -> None:
        draw.ellipse([x + dx - w, y + dy - h, x + dx + w, y + dy + h], fill=color)

    oval(0, 2.2 * size, 1.3 * size, 1.3 * size, tuple(rng.randint(20, 220) for _ in range(3)))
    oval(0, 0.95 * size, 0.3 * size, 0.5 * size, shade(skin, 0.85))
    oval(0, -0.25 * size, wide * 1.12, size * 0.95, hair)
    oval(0, 0, wide, size, skin)
    for side in (-1, 1):
        eye = side * wide * 0.42
        oval(eye, -0.18 * size, wide * 0.22, size * 0.09, (245, 245, 240))
        oval(eye, -0.18 * size, wide * 0.11, size * 0.09, (40, 30, 20))
        oval(eye, -0.36 * size, wide * 0.27, size * 0.03, shade(hair, 0.8))
    nose = [(x, y - 0.05 * size), (x - 0.16 * wide, y + 0.3 * size), (x + 0.16 * wide, y + 0.3 * size)]
    draw.polygon(nose, fill=shade(skin, 0.87))
    oval(0, 0.55 * size, wide * rng.uniform(0.25, 0.45), size * rng.uniform(0.05, 0.12), (165, 75, 75))


def scene(rng: random.Random) -> np.ndarray:
    """One picture (96, 128, 3), in steps of 8 so that it packs well."""
    image = Image.new("RGB", (WIDTH, HEIGHT), tuple(rng.randint(40, 220) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(2, 6)):
        corner = rng.randint(-20, WIDTH), rng.randint(-20, HEIGHT)
        box = [*corner, corner[0] + rng.randint(10, 70), corner[1] + rng.randint(10, 70)]
        rng.choice([draw.rectangle, draw.ellipse])(box, fill=tuple(rng.randint(20, 235) for _ in range(3)))
    for at in rng.choices([[], [0.5], [0.5], [0.28, 0.75]], k=1)[0]:
        size = rng.uniform(16, 30)
        face(draw, rng, WIDTH * at + rng.uniform(-8, 8), HEIGHT * 0.45 + rng.uniform(-8, 8), size)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 1.6)))
    return np.asarray(image) // 8 * 8


if __name__ == "__main__":
    for name, count, seed in (("calibration", 104, 1), ("evaluation", 104, 2)):
        rng = random.Random(seed)
        inputs = np.stack([scene(rng) for _ in range(count)])
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), inputs=inputs)
