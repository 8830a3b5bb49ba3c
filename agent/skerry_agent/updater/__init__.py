"""The process that verifies trust, decides what to fetch, applies patches and makes bundles. Ends after one job.

Everything heavy (cryptography, numpy, zstandard) is imported here and gone with the process. It never touches the
journal: the supervisor does.
"""
