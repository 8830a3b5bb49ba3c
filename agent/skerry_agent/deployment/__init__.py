"""One model on the device: performs what its update machine orders, with the processes that it needs."""
