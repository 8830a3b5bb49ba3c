"""The contract between host and device: messages, names, topics and errors.

Pure: no input, no output, no clock. The contract lives with the agent because the side that is slowest to
upgrade owns the protocol; the host speaks the current `PROTOCOL` and the one before it.
"""

PROTOCOL = 1
