"""The error of this package: a sample or a golden file that cannot be used. Raised here, shown elsewhere."""

from skerry_agent.wire.errors import SkerryError


class ProcessingError(SkerryError):
    """A sample, a tensor or a golden file is not what the bundle says. Codes: sample, golden_format."""

    code = "sample"
