"""Search of hyperparameters, by validation alone."""
