"""What can go wrong in a runner.

SkerryError
├── EngineError       a model or its runtime cannot be used
├── InferenceError    one inference failed; the next may work
├── GoldenError       the golden file cannot be used, or not with this model
├── UnfitError        the model is not fit to serve: becomes a `Refused` message
└── SourceError       an input source cannot be used: becomes an issue of the device, and the model serves on
"""

from skerry_agent.wire.errors import SkerryError

UNUSUAL_INPUT = "unusual_input"
"""The code of an `InferenceError` that is the input's: no fault of the model."""


class EngineError(SkerryError):
    """A runtime is missing or it refuses the model."""

    code = "load_failed"


class InferenceError(SkerryError):
    """The runtime failed on one set of inputs."""

    code = "inference_failed"


class GoldenError(SkerryError):
    """A golden file is damaged, or of another model."""

    code = "golden_format"


class UnfitError(SkerryError):
    """The model is not fit to serve. `code` is one of those of `protocol.Refused`."""

    code = "load_failed"


class SourceError(SkerryError):
    """What should feed the model cannot be used: the device's configuration or its hardware, not the model."""

    code = "source_failed"
