"""The host side of Skerry: build, release, roll out and watch models on a fleet of small devices."""
