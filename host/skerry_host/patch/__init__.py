"""The patch encoder: everything that may look inside a model stays on this side. It does not run on devices."""

from skerry_host.patch.create import DiffError, Patch, create
from skerry_host.patch.failures import Failed

__all__ = ["DiffError", "Failed", "Patch", "create"]
