"""Brings blobs to this device, piece by piece, by whatever transport. Knows no deployment."""
