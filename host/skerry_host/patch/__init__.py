"""The patch encoder: all code that parses models for a patch is here. It does not run on devices."""

from skerry_host.patch.create import EncodeError, Fallback, Patch, create
from skerry_host.patch.failures import Failed

__all__ = ["EncodeError", "Failed", "Fallback", "Patch", "create"]
