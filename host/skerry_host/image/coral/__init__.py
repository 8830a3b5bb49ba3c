"""What boards with an Edge TPU are given beside the rest: an interpreter, a driver, and the runtime that fits it."""
