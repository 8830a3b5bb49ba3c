"""The update machine of one model: its table, what goes in and out, and what a journal holds of it. Pure."""
