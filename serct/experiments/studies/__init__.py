"""Studies: one question, tested with folds, seeds and models."""
