"""The broker, and the plane's connection to it. Carries bytes, knows no message."""
