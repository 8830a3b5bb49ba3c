"""The database that holds all state of the host plane: tables, migrations, and queries for each kind of record."""
