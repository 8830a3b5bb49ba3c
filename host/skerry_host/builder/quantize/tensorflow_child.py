"""A float TFLite model with ranges to int8, by TensorFlow's own quantizer: a script for a converter's environment.

`python tensorflow_child.py IN OUT TYPE PER_CHANNEL KEPT`: TYPE of inputs and outputs is int8 or float32; PER_CHANNEL 1
or 0; KEPT are names of tensors, as JSON, whose operators stay float.
The ranges are in the file, as TFLiteConverter's calibration leaves them: the minimum and maximum of each activation.
Needs TensorFlow only: this project is not installed there. Dense layers have one scale, as everywhere in Skerry.
"""

import json
import sys
from pathlib import Path


def main(given: str, out: str, io: str, per_channel: str, kept: str) -> None:
    """Write the quantized model; operators without an int8 form stay float between conversions."""
    import tensorflow as tf  # noqa: PLC0415  (slow, and here only)
    from tensorflow.lite.python.convert import mlir_quantize  # noqa: PLC0415

    made = mlir_quantize(
        Path(given).read_bytes(),
        disable_per_channel=per_channel != "1",
        input_data_type=getattr(tf, io),
        output_data_type=getattr(tf, io),
        disable_per_channel_for_dense_layers=True,
        denylisted_nodes=set(json.loads(kept)) or None,
    )
    Path(out).write_bytes(made)


if __name__ == "__main__":
    main(*sys.argv[1:6])
