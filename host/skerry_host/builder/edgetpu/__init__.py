"""The Edge TPU: inspects compiled files, predicts which operators the compiler maps, and runs the compiler.

Ships no compiler and no driver, and needs neither to inspect or to predict.
"""
