"""From the registry to the devices: retained messages, chunks on request, blobs over HTTP. Decides nothing."""
