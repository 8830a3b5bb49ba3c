"""The on-device agent of Skerry: runs a model, proves every new one, and rolls back by itself."""

__version__ = "0.1.0"
