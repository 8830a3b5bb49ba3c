"""The Edge TPU: what a compiled file says of itself, what the compiler will probably map, and the compiler's adapter.

Ships no compiler and no driver, and needs neither to inspect or to predict.
"""
