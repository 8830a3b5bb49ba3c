"""What signals are called. Sends none, and waits for none."""

import signal


def signal_name(number: int) -> str:
    """SIGSEGV for 11; a real-time signal has no name, so it is called by its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
