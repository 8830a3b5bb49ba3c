"""Telemetry at rest: a compact row for each report, and roll-ups of them for weeks and for a year.

`port` says what a store of telemetry does, `sql` does it in the registry. Nothing here knows topics or pages.
"""
