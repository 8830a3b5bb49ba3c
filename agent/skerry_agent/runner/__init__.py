"""The inference process: loads one model, proves it, answers inference, measures. It may die without harm to others."""
