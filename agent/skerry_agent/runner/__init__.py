"""The inference process: loads one model, proves it, answers inference, measures. If it crashes, no other does."""
