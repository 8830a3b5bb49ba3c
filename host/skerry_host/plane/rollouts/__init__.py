"""What people order and what devices shall run: written into the registry, published by `delivery`."""
