"""What the registry remembers, one module for each noun: functions over a session, no decisions and no wire."""
