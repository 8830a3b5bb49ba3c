"""From a trained model to tested int8 artifacts. Knows nothing of releases, fleets or brokers."""
