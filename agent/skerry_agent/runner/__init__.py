"""The inference process: loads and validates one model, answers inference requests, measures. It may crash alone."""
