"""The only state of the host: its tables, their migrations, and one module of queries for each noun."""
