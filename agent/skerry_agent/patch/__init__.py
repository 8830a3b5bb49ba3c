"""Patches: bytes that turn one artifact into another, applied with bounded memory on any device.

The decoder never parses a model and never trusts a length. It does no input or output of its own. Format:
docs/patch-format.md; the encoder lives on the host.
"""

from skerry_agent.patch.container import Codec, PatchHeader, read_header
from skerry_agent.patch.decode import MAX_EXTRA_BYTES, apply
from skerry_agent.patch.errors import HINTS, PatchError

__all__ = ["HINTS", "MAX_EXTRA_BYTES", "Codec", "PatchError", "PatchHeader", "apply", "read_header"]
