"""Train the three fashion models and write their float `.tflite` files and data arrays.

Needs TensorFlow, which nothing else here does, so give it its own environment:

    python3 -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu==2.21.0
    /tmp/tf/bin/python models/fashion/train.py            # all four stages
    /tmp/tf/bin/python models/fashion/train.py tuned wide # only these, from kept weights

Stages, each standing on the one before: `data` (calibration.npz, evaluation.npz), `base`
(fashion-1.0.0: trained from scratch), `tuned` (1.1.0: the head and last block of 1.0.0 at a
low learning rate), `wide` (1.2.0: 1.1.0 plus a residual branch at 112x112; as accurate,
nearly as small, and hundreds of times slower in int8: the release that only a device refuses).

It does not quantize, sign or release anything: that is `skerry model build`. Seeds are fixed, but
float sums on several threads differ in the last bits, so a second run gives equal accuracy, not equal bytes.
"""

import argparse
import gzip
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]
from numpy.typing import NDArray

keras = tf.keras
layers = keras.layers

HERE = Path(__file__).resolve().parent
DEBIAN_DATA = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10
THREADS = 2
BATCH = 128
# (channels, stride) of each depthwise-separable block; 28x28 -> 14x14 -> 7x7.
BLOCKS = ((32, 1), (64, 2), (64, 1), (128, 1), (192, 2), (192, 1), (256, 1))
TUNED_BLOCKS = 1
STEM_CHANNELS = 32
HIGH_RESOLUTION = 112
BRANCH_BLOCKS = 4
BRANCH_WINDOW = 9


@dataclass(frozen=True, slots=True)
class Split:
    """Images (N, 28, 28, 1) uint8 and their labels (N,) uint8."""

    inputs: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Run:
    """What every stage needs: the data, where files go, and how long to train."""

    train: Split
    test: Split
    output: Path
    work: Path
    epochs: int
    seed: int


# ------------------------------------------------------------------------------------- data


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes (format: yann.lecun.com/exdb/mnist)."""
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\x00\x00\x08":
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes; reinstall dataset-fashion-mnist")
    shape = np.frombuffer(raw, dtype=">u4", count=raw[3], offset=4)
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def load_data(folder: Path) -> tuple[Split, Split]:
    """Return (train, test): from `folder` if it is there, else by Keras' download."""
    if folder.is_dir():
        pairs = [
            (read_idx(folder / f"{part}-images-idx3-ubyte.gz"), read_idx(folder / f"{part}-labels-idx1-ubyte.gz"))
            for part in ("train", "t10k")
        ]
    else:
        pairs = list(keras.datasets.fashion_mnist.load_data())
    train, test = (Split(images[..., np.newaxis], labels) for images, labels in pairs)
    return train, test


def balanced(split: Split, count: int, seed: int) -> Split:
    """Draw `count` samples, equally many of each class, in shuffled order."""
    rng = np.random.default_rng(seed)
    per_class = count // CLASSES
    drawn = [rng.choice(np.flatnonzero(split.labels == k), per_class, replace=False) for k in range(CLASSES)]
    index = rng.permutation(np.concatenate(drawn))
    return Split(split.inputs[index], split.labels[index])


def batches(split: Split, batch: int, seed: int) -> tf.data.Dataset:
    """Return shuffled, augmented (image in [0, 1], label) batches."""

    def augment(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # A garment may face either way and sit a little off centre.
        image = tf.image.random_flip_left_right(tf.cast(image, tf.float32) / 255.0)
        image = tf.image.random_crop(tf.pad(image, [[2, 2], [2, 2], [0, 0]]), [28, 28, 1])
        return image, label

    data = tf.data.Dataset.from_tensor_slices((split.inputs, split.labels))
    data = data.shuffle(len(split.labels), seed=seed)
    return data.map(augment, num_parallel_calls=THREADS).batch(batch, drop_remainder=True).prefetch(2)


# ----------------------------------------------------------------------------------- models


def conv_bn(x: Any, name: str, layer: Any) -> Any:
    """Convolution, batch normalisation, ReLU6: the converter folds the three into one operator."""
    x = layer(x)
    x = layers.BatchNormalization(momentum=0.97, name=f"{name}_bn")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x)


def separable(x: Any, name: str, channels: int, stride: int) -> Any:
    """3x3 depthwise, then 1x1 convolution, each with batch normalisation."""
    depthwise = layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_dw")
    pointwise = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pw")
    return conv_bn(conv_bn(x, f"{name}_dw", depthwise), f"{name}_pw", pointwise)


def high_resolution_branch(x: Any) -> Any:
    """Smooth and mix the stem's features at 112x112, average back to 28x28, and add.

    Innocent in float, where a 9x9 average costs little; XNNPACK does not take it in int8, so on a device it is
    the generic one that runs. The last convolution starts at zero, so that training starts from 1.1.0's function.
    """
    branch = layers.Resizing(HIGH_RESOLUTION, HIGH_RESOLUTION, "bilinear", name="branch_up")(x)
    for i in range(BRANCH_BLOCKS):
        branch = layers.AveragePooling2D(BRANCH_WINDOW, 1, "same", name=f"branch{i}_smooth")(branch)
        branch = conv_bn(branch, f"branch{i}", layers.Conv2D(STEM_CHANNELS, 1, use_bias=False, name=f"branch{i}"))
    branch = layers.AveragePooling2D(HIGH_RESOLUTION // 28, name="branch_down")(branch)
    branch = layers.Conv2D(STEM_CHANNELS, 1, kernel_initializer="zeros", name="branch_out")(branch)
    return layers.Add(name="branch_add")([x, branch])


def build(wide: bool) -> Any:
    """Return the untrained classifier: (N, 28, 28, 1) in [0, 1] -> (N, 10) probabilities."""
    image = keras.Input((28, 28, 1), name="image")
    stem = layers.Conv2D(STEM_CHANNELS, 3, padding="same", use_bias=False, name="stem")
    x = conv_bn(image, "stem", stem)
    if wide:
        x = high_resolution_branch(x)
    for i, (channels, stride) in enumerate(BLOCKS):
        x = separable(x, f"block{i}", channels, stride)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="probabilities")(x))


def freeze_except(model: Any, trainable: Callable[[str], bool]) -> None:
    """Let only the layers whose name `trainable` accepts learn; batch statistics of the rest stay as they are."""
    for layer in model.layers:
        layer.trainable = trainable(layer.name)


def fit(model: Any, data: tf.data.Dataset, rate: Any, epochs: int) -> None:
    """Minimise cross entropy with Adam at `rate` (a number or a schedule)."""
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    model.fit(data, epochs=epochs, verbose=2)


# ------------------------------------------------------------------------------------ stages


def export(model: Any, path: Path) -> None:
    """Write `model` as float32 TFLite: batch 1, SignatureDef serving_default, no optimizations."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[tf.TensorSpec((1, 28, 28, 1), tf.float32, name="image")],
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())


def finish(run: Run, model: Any, version: str) -> None:
    """Keep the weights, export, and print what the file is worth on the whole test set."""
    model.save_weights(run.work / f"{version}.weights.h5")
    path = run.output / f"fashion-{version}.tflite"
    export(model, path)
    test = run.test.inputs.astype(np.float32) / 255.0
    right = model.predict(test, batch_size=100, verbose=0).argmax(axis=1) == run.test.labels
    print(f"{path.name}: {model.count_params()} parameters, {path.stat().st_size} bytes, top-1 {right.mean():.4f}")


def data_stage(run: Run) -> None:
    """Write calibration.npz (600 training images) and evaluation.npz (2,500 test images)."""
    for name, split, count in (("calibration", run.train, 600), ("evaluation", run.test, 2500)):
        drawn = balanced(split, count, run.seed)
        np.savez_compressed(run.output / f"{name}.npz", inputs=drawn.inputs, labels=drawn.labels)


def base_stage(run: Run) -> None:
    """1.0.0: from scratch."""
    model = build(wide=False)
    steps = len(run.train.labels) // BATCH * run.epochs
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps, 0.01, warmup_target=4e-3, warmup_steps=steps // 20)
    fit(model, batches(run.train, BATCH, run.seed), rate, run.epochs)
    finish(run, model, "1.0.0")


def tuned_stage(run: Run) -> None:
    """1.1.0: the last block and the head of 1.0.0, at a low learning rate.

    What does not learn stays bit for bit the same, also after quantization: the patch from 1.0.0 is small.
    """
    model = build(wide=False)
    model.load_weights(run.work / "1.0.0.weights.h5")
    last = tuple(f"block{i}" for i in range(len(BLOCKS) - TUNED_BLOCKS, len(BLOCKS)))
    freeze_except(model, lambda name: name.startswith((*last, "probabilities")) and not name.endswith("_bn"))
    fit(model, batches(run.train, BATCH, run.seed + 1), 2e-5, max(1, run.epochs // 4))
    finish(run, model, "1.1.0")


def wide_stage(run: Run) -> None:
    """1.2.0: 1.1.0 with the high-resolution branch; only the branch learns, and briefly."""
    tuned = build(wide=False)
    tuned.load_weights(run.work / "1.1.0.weights.h5")
    model = build(wide=True)
    for layer in tuned.layers:
        model.get_layer(layer.name).set_weights(layer.get_weights())
    freeze_except(model, lambda name: name.startswith("branch"))
    fit(model, batches(run.train, 32, run.seed + 2).take(200), 3e-4, 1)
    finish(run, model, "1.2.0")


STAGES: dict[str, Callable[[Run], None]] = {
    "data": data_stage,
    "base": base_stage,
    "tuned": tuned_stage,
    "wide": wide_stage,
}


def main() -> None:
    """Parse the command line and run the stages asked for, in order."""
    parser = argparse.ArgumentParser(description="Train the fashion models.")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)} (default: all)")
    parser.add_argument("--data", type=Path, default=DEBIAN_DATA, help="folder of IDX files, else downloaded")
    parser.add_argument("--output", type=Path, default=HERE, help="where the .tflite and .npz files go")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "fashion", help="kept weights")
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    if unknown := set(args.stages) - set(STAGES):
        parser.error(f"unknown stage {min(unknown)!r}: use {', '.join(STAGES)}")
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    keras.utils.set_random_seed(args.seed)
    for folder in (args.output, args.work):
        folder.mkdir(parents=True, exist_ok=True)
    run = Run(*load_data(args.data), args.output, args.work, args.epochs, args.seed)
    for name, stage in STAGES.items():
        if not args.stages or name in args.stages:
            stage(run)


if __name__ == "__main__":
    main()
