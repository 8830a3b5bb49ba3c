"""Draws hands that detectors take for such: no photograph of zoo_photographs shows one large enough. Tries no model."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Spot = tuple[float, float]
Limb = Callable[[Sequence[Spot], float, tuple[int, ...]], None]
"""A line through points, so wide, in units of the hand, of a colour."""
FINGERS = ((-0.35, 0.85, -0.18), (-0.12, 1.0, -0.04), (0.12, 0.93, 0.1), (0.34, 0.72, 0.25))
"""Where each begins, its length and the way it leans."""
PALM = ((-0.42, -0.5), (-0.2, -0.58), (0.1, -0.58), (0.42, -0.42), (0.36, 0.35), (0.2, 0.5), (-0.25, 0.5), (-0.42, 0.2))
CREASES = (
    ((-0.35, -0.2), (0.0, -0.05), (0.3, -0.15)),
    ((-0.3, 0.0), (0.1, 0.12), (0.35, 0.02)),
    ((-0.3, -0.1), (-0.12, 0.15), (-0.12, 0.4)),
)


def hand(rng: random.Random, behind: Image.Image) -> np.ndarray[Any, Any]:
    """An open hand before a picture, or before one colour, as uint8 (height, width, 3)."""
    width, height = behind.size
    plain = Image.new("RGB", behind.size, tuple(rng.randint(20, 235) for _ in range(3)))
    image = (plain if rng.random() < 0.6 else behind).resize((2 * width, 2 * height))
    draw, scale = ImageDraw.Draw(image), 2 * min(width, height) * rng.uniform(0.22, 0.3)
    middle = (width * rng.uniform(0.85, 1.15), height * rng.uniform(1.05, 1.25))
    turned, side = math.radians(rng.uniform(-35, 35)), rng.choice((-1, 1))

    def at(spot: Spot) -> Spot:
        x, y = side * spot[0] * scale, spot[1] * scale
        across = middle[0] + x * math.cos(turned) - y * math.sin(turned)
        return across, middle[1] + x * math.sin(turned) + y * math.cos(turned)

    def limb(spots: Sequence[Spot], wide: float, colour: tuple[int, ...]) -> None:
        half, places = wide * scale / 2, [at(spot) for spot in spots]
        draw.line(places, fill=colour, width=max(1, int(2 * half)), joint="curve")
        for x, y in places:
            draw.ellipse([x - half, y - half, x + half, y + half], fill=colour)

    tone = rng.uniform(0.45, 1.0)
    skin, dark = (tuple(int(part * tone * shade) for part in (236, 188, 150)) for shade in (1.0, 0.78))
    limb([(0.0, 0.4), (0.05, 2.2)], 0.62, skin)
    draw.polygon([at(spot) for spot in PALM], fill=skin)
    _fingers(rng, limb, skin, dark)
    for crease in CREASES:
        limb(crease, 0.015, dark)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 3))).resize((width, height)))


def _fingers(rng: random.Random, limb: Limb, skin: tuple[int, ...], dark: tuple[int, ...]) -> None:
    spread = rng.uniform(0.8, 1.3)
    for begin, length, leans in FINGERS:
        spots = _bones((begin, -0.45), leans * spread, length * rng.uniform(0.85, 1.0), (0.45, 0.3, 0.25))
        limb(spots, 0.24, dark)
        limb(spots, 0.2, skin)
        for x, y in spots[1:3]:
            limb([(x - 0.07, y), (x + 0.07, y)], 0.012, dark)
    thumb = _bones((-0.32, 0.25), rng.uniform(-0.9, -0.5), 1.0, (0.42, 0.32, 0.26))
    limb(thumb, 0.26, dark)
    limb(thumb, 0.23, skin)


def _bones(begin: Spot, leans: float, length: float, parts: Sequence[float]) -> list[Spot]:
    spots = [begin]
    for part in parts:
        x, y = spots[-1]
        spots.append((x + math.sin(leans) * length * part, y - math.cos(leans) * length * part))
    return spots
