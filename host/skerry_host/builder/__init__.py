"""From a trained model to proven int8 artifacts. Knows nothing of releases, fleets or brokers."""
