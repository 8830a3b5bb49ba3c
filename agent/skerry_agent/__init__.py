"""The on-device agent of Skerry: runs a model, validates every new one on the device, and rolls back on its own."""

__version__ = "0.1.0"
