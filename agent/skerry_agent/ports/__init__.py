"""The agent's interfaces: to the outside as Protocols, between its processes as messages; and the clock."""
