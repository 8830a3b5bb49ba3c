"""The keys that this device trusts."""
