"""Downloads blobs to this device, piece by piece, over any transport. Knows nothing of deployments."""
