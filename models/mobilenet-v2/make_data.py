"""Cuts pictures from the portrait of Rear Admiral Grace Hopper (U.S. Navy, public domain).

It is the usual sample of ImageNet's class 653, "military uniform". Needs Pillow and the picture:

    python models/mobilenet-v2/make_data.py grace_hopper.bmp
"""

import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

SIZE = 128
CLASS = 653


def cut(picture: Image.Image, rng: random.Random) -> np.ndarray:
    """A part of the picture (128, 128, 3), lit differently, in steps of 16 so that it packs well."""
    width, height = (int(n * rng.uniform(0.93, 1.0)) for n in picture.size)
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    made = picture.crop((left, top, left + width, top + height)).resize((SIZE, SIZE), Image.Resampling.BOX)
    if rng.random() < 0.5:
        made = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    made = ImageEnhance.Brightness(made).enhance(rng.uniform(0.8, 1.2))
    return np.asarray(made) // 16 * 16 + 8


if __name__ == "__main__":
    picture = Image.open(sys.argv[1]).convert("RGB")
    for name, count, seed in (("calibration", 2, 1), ("evaluation", 16, 2)):
        rng = random.Random(seed)
        inputs = np.stack([cut(picture, rng) for _ in range(count)])
        labels = np.full(count, CLASS, np.uint16)
        np.savez_compressed(Path(__file__).with_name(f"{name}.npz"), inputs=inputs, labels=labels)
