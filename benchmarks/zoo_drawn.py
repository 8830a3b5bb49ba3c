"""Draws hands and people that detectors take for such: there are no free photographs of them here. Tries no model."""

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


def person(rng: random.Random, behind: Image.Image) -> np.ndarray[Any, Any]:
    """Somebody who stands with arms in some way before a picture or one colour, as uint8 (height, width, 3)."""
    width, height = behind.size
    plain = Image.new("RGB", behind.size, tuple(rng.randint(60, 235) for _ in range(3)))
    image = (plain if rng.random() < 0.6 else behind).resize((2 * width, 2 * height))
    draw, tall = ImageDraw.Draw(image), 2 * height * rng.uniform(0.78, 0.92)
    middle, top = width * rng.uniform(0.92, 1.08), (2 * height - tall) / 2
    skin = tuple(int(part * rng.uniform(0.5, 1.0)) for part in (236, 188, 150))
    shirt, trousers = (tuple(rng.randint(10, 230) for _ in range(3)) for _ in range(2))

    def limb(spots: Sequence[Spot], wide: float, colour: tuple[int, ...]) -> None:
        half, places = wide * tall / 2, [(middle + x * tall, top + y * tall) for x, y in spots]
        draw.line(places, fill=colour, width=max(1, int(2 * half)), joint="curve")
        for x, y in places:
            draw.ellipse([x - half, y - half, x + half, y + half], fill=colour)

    for side in (-1, 1):
        hip, foot = side * 0.05, side * rng.uniform(0.04, 0.12)
        limb([(hip, 0.52), ((hip + foot) / 2 + side * 0.01, 0.74), (foot, 0.94)], 0.075, trousers)
        limb([(foot, 0.96), (foot + side * 0.04, 0.97)], 0.045, (30, 25, 25))
    draw.polygon(
        [(middle + x * tall, top + y * tall) for x, y in ((-0.12, 0.2), (0.12, 0.2), (0.085, 0.53), (-0.085, 0.53))],
        fill=shirt,
    )
    limb([(-0.1, 0.205), (0.1, 0.205)], 0.06, shirt)
    for side in (-1, 1):
        _arm(rng, limb, side, (shirt, skin))
    limb([(0.0, 0.13), (0.0, 0.19)], 0.055, skin)
    _head(draw, (middle, top + 0.085 * tall, tall), skin)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(1, 2.5))).resize((width, height)))


def _arm(rng: random.Random, limb: Limb, side: int, colours: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    down, bend = rng.uniform(0.1, 1.2), rng.uniform(-0.4, 0.9)
    elbow = (side * (0.125 + 0.17 * math.sin(down)), 0.22 + 0.17 * math.cos(down))
    wrist = (elbow[0] + side * 0.15 * math.sin(down + bend), elbow[1] + 0.15 * math.cos(down + bend))
    limb([(side * 0.12, 0.22), elbow], 0.055, colours[0])
    limb([elbow, wrist], 0.042, colours[1])
    limb(
        [wrist, (wrist[0] + side * 0.03 * math.sin(down + bend), wrist[1] + 0.03 * math.cos(down + bend))],
        0.05,
        colours[1],
    )


def _head(draw: Any, place: tuple[float, float, float], skin: tuple[int, ...]) -> None:
    x, y, tall = place
    high = 0.075 * tall
    for dx, dy, wide, part, colour in (
        (0, -0.2, 0.8, 0.95, (45, 30, 25)), (0, 0, 0.7, 0.95, skin), (-0.28, -0.1, 0.13, 0.07, (240, 240, 240)),
        (0.28, -0.1, 0.13, 0.07, (240, 240, 240)), (-0.28, -0.1, 0.06, 0.06, (20, 15, 15)),
        (0.28, -0.1, 0.06, 0.06, (20, 15, 15)), (-0.28, -0.3, 0.18, 0.03, (40, 25, 20)),
        (0.28, -0.3, 0.18, 0.03, (40, 25, 20)), (0, 0.15, 0.09, 0.14, tuple(int(c * 0.85) for c in skin)),
        (0, 0.5, 0.25, 0.05, (150, 60, 60)),
    ):  # fmt: skip
        draw.ellipse(
            [x + (dx - wide) * high, y + (dy - part) * high, x + (dx + wide) * high, y + (dy + part) * high],
            fill=colour,
        )
