"""What a board is given to become a device by itself: the image folder, and how it gets into a boot partition.

`parts.py` is the table of what is in the folder, a file of this package for each. Knows neither plane nor registry: who
the device is comes as files that are written elsewhere.
"""
