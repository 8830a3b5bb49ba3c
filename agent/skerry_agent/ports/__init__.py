"""The interfaces between the processes of an agent, and to what is outside: interfaces, messages, the clock."""
