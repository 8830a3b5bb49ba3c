"""Writes device messages into the registry and sends receipts for stored reports. Decides nothing."""
