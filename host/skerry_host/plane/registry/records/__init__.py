"""Queries of the registry, one module for each kind of record: functions over a session, without decisions or I/O."""
