"""Training: from shards and parameters to a model folder and its run."""
