"""What the processes of an agent and the world around it ask of each other: interfaces, messages, the clock."""
