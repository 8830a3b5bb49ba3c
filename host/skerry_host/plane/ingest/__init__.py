"""From the devices into the registry, and the receipts for it. Decides nothing."""
