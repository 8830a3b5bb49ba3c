"""The patch encoder: everything that may look inside a model stays on this side. It does not run on devices."""

from skerry_host.patch.create import DiffError, Patch, create

__all__ = ["DiffError", "Patch", "create"]
