"""What can be wrong with an image folder.

SkerryError
└── ImageError          the folder cannot be made
    ├── WheelError      the wheels of a board cannot be had, or there are none for it
    └── BootError       a boot partition is none, is full, or cannot be written
"""

from skerry_agent.wire.errors import SkerryError


class ImageError(SkerryError):
    """An image folder cannot be made."""

    code = "image"


class WheelError(ImageError):
    """The wheels of a board cannot be had, or there are none for it."""

    code = "wheels"


class BootError(ImageError):
    """A boot partition is none, is full, or cannot be written."""

    code = "boot"
    exit_code = 2
