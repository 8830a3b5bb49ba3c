"""Tensors as numpy arrays and back, for what needs numpy: runtimes that speak it, and raw samples.

Import this only where it is used: numpy costs a runner about 16 MB.
"""

import numpy as np

from skerry_agent.processing import Array
from skerry_agent.runner.tensor import Tensor


def to_array(tensor: Tensor) -> Array:
    """A read-only view of a tensor's bytes."""
    return np.frombuffer(tensor.data, tensor.dtype).reshape(tensor.shape)


def from_array(array: Array) -> Tensor:
    """A copy of an array's elements."""
    return Tensor(array.dtype.name, array.shape, array.tobytes())
