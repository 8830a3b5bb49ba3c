"""Everything that the agent keeps on disk, and how it is read and written. Decides nothing."""
