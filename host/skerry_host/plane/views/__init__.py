"""What is shown of a fleet, gathered from the registry, and how it reads. Changes nothing."""
