"""Puts an image folder into a boot partition: into a folder where one is mounted, or into the image file of a card.

All of it gets there, or nothing does. Starts nothing: how the system of the card comes to run first-boot.sh is what
`layout.py` decides, by what lies on the partition already.
"""

from skerry_host.image.boot.target import BootTarget, boot_target

__all__ = ["BootTarget", "boot_target"]
