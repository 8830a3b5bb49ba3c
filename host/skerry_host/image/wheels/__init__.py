"""The wheels of a board: what is locked for it, fetched once and kept, with the hash of each.

Installs nothing, and resolves nothing: the locks of requirements/boards say every package and version.
"""

from skerry_host.image.wheels.wheelhouse import Wheel, Wheelhouse

__all__ = ["Wheel", "Wheelhouse"]
