"""What is shown of a fleet: gathered from the registry, and formatted. Changes nothing."""
