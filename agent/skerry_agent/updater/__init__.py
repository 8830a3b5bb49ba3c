"""The process that verifies signatures, plans downloads, applies patches and makes bundles. Ends after one job.

Everything heavy (cryptography, numpy, zstandard) is imported here and freed when the process ends. It never touches the
journal: the supervisor does.
"""
