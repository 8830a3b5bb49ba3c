"""Splits scikit-learn's digits (1,797 images of 8x8 pixels; UCI, CC BY 4.0) for training, calibration and evaluation.

python models/digits/make_data.py        # needs scikit-learn
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def main() -> None:
    """Write the files beside this one."""
    digits = load_digits()
    order = np.random.default_rng(1).permutation(len(digits.target))
    inputs = digits.images[order].astype(np.uint8)[..., np.newaxis]  # 0..16
    labels = digits.target[order].astype(np.uint8)
    here = Path(__file__).parent
    for name, part in (("training", slice(0, 1000)), ("calibration", slice(0, 300)), ("evaluation", slice(1000, None))):
        np.savez_compressed(here / f"{name}.npz", inputs=inputs[part], labels=labels[part])


if __name__ == "__main__":
    main()
