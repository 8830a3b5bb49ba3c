"""From the registry to the devices: retained messages, answers to questions, blobs over HTTP. Decides nothing."""
