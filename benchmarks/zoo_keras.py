"""Makes the zoo's Keras models: small ones trained on Fashion-MNIST, and keras.applications with made-up weights.

    python zoo_keras.py CLOTHES.npz OUT NAME ...

Runs with a converter's Python; needs TensorFlow only. Those with made-up weights are for conversion only: they are
initialised and never trained; their batch normalization is set from data, so that activations have sensible ranges.
"""

import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras import layers as L  # noqa: N812

APPLICATIONS = {
    "mobilenet-v2": ("MobileNetV2", {"alpha": 0.35}),
    "mobilenet-v3": ("MobileNetV3Small", {"minimalistic": False}),
    "efficientnet-b0": ("EfficientNetB0", {}),
    "convnext-tiny": ("ConvNeXtTiny", {}),
    "densenet-121": ("DenseNet121", {}),
    "nasnet-mobile": ("NASNetMobile", {}),
    "resnet-50-v2": ("ResNet50V2", {}),
    "xception": ("Xception", {}),
}


def application(name: str) -> Any:
    """One of keras.applications at 96 pixels with ten classes."""
    kind, options = APPLICATIONS[name]
    size = 224 if kind == "NASNetMobile" else 96
    return getattr(keras.applications, kind)(input_shape=(size, size, 3), weights=None, classes=10, **options)


def residual() -> Any:
    """A residual network with LEAKY_RELU, PRELU and squeeze-and-excitation."""
    given = keras.Input((28, 28, 1))
    x = L.LeakyReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same")(given)))
    for width in (16, 32):
        y = L.PReLU(shared_axes=[1, 2])(L.BatchNormalization()(L.Conv2D(width, 3, 2, padding="same")(x)))
        y = L.BatchNormalization()(L.Conv2D(width, 3, padding="same")(y))
        gate = L.Dense(width, activation="sigmoid")(
            L.Dense(width // 4, activation="relu")(L.GlobalAveragePooling2D()(y))
        )
        x = L.LeakyReLU()(L.Add()([L.Multiply()([y, L.Reshape((1, 1, width))(gate)]), L.Conv2D(width, 1, 2)(x)]))
    return keras.Model(given, L.Dense(10, activation="softmax")(L.GlobalMaxPooling2D()(x)))


def attention() -> Any:
    """A small vision transformer: patches, LayerNorm, attention, GELU."""
    given = keras.Input((28, 28, 1))
    x = L.Reshape((49, 48))(L.Conv2D(48, 4, 4)(given))
    x = L.Add()([x, L.Embedding(49, 48)(keras.ops.arange(49)[None])])
    for _ in range(2):
        y = L.LayerNormalization()(x)
        x = L.Add()([x, L.MultiHeadAttention(4, 12)(y, y)])
        y = L.Dense(96, activation="gelu")(L.LayerNormalization()(x))
        x = L.Add()([x, L.Dense(48)(y)])
    return keras.Model(given, L.Dense(10, activation="softmax")(L.GlobalAveragePooling1D()(L.LayerNormalization()(x))))


def rows() -> Any:
    """The rows of a picture one after the other through an LSTM."""
    given = keras.Input((28, 28, 1))
    return keras.Model(given, L.Dense(10, activation="softmax")(L.LSTM(48)(L.Reshape((28, 28))(given))))


def gated() -> Any:
    """The same through a bidirectional GRU."""
    given = keras.Input((28, 28, 1))
    return keras.Model(given, L.Dense(10, activation="softmax")(L.Bidirectional(L.GRU(32))(L.Reshape((28, 28))(given))))


TRAINED = {"clothes-residual": residual, "clothes-transformer": attention, "clothes-lstm": rows, "clothes-gru": gated}


def main(clothes: str, out: str, *names: str) -> None:
    """Write each as OUT/NAME.keras."""
    keras.utils.set_random_seed(1)
    with np.load(clothes) as data:
        x, y = data["inputs"][..., None].astype(np.float32) / 255, data["labels"]
    for name in names:
        file = Path(out) / f"{name}.keras"
        if name in TRAINED:
            model = TRAINED[name]()
            model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
            model.fit(x, y, batch_size=64, epochs=4, verbose=0)
        else:
            model = application(name)
            model.compile("sgd", "sparse_categorical_crossentropy")
            size = model.input_shape[1]
            some = keras.ops.repeat(keras.ops.image.resize(x[:64], (size, size)), 3, axis=-1)
            for _ in range(8):
                model(some, training=True)  # the batches' means and deviations
        model.save(file)
        print(f"made {file}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
