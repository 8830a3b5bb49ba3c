"""Gets this device its identity and keeps it valid: enrolment, renewal, the way back, and the host's time.

Makes no key and checks no signature: updaters do. Opens no connection by itself: `Connections` does.
"""
