"""Devices, groups, rollouts and gates as pure values and functions. No input or output."""
