"""Backup and restore of a home with its registry, also while a plane serves it. The format: docs/backup.md."""
