"""How boards come to be devices: requests for an identity are decided, answered and renewed here."""
