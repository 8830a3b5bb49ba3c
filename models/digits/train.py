"""Trains a small convolutional network on training.npz with Keras and saves it as digits.keras beside this file.

python models/digits/train.py            # needs TensorFlow
"""

from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent


def network() -> keras.Model:
    """The network before it is trained: 8x8 grey in 0..1 to ten probabilities."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(6.0)(x)
    x = keras.layers.Conv2D(24, 3, strides=2, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(6.0)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(10, activation="softmax", name="probabilities")(x))


def main() -> None:
    """Train and save."""
    keras.utils.set_random_seed(7)
    data = np.load(HERE / "training.npz")
    model = network()
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(data["inputs"] / 16, data["labels"], batch_size=32, epochs=60, verbose=2)
    model.save(HERE / "digits.keras")


if __name__ == "__main__":
    main()
