"""Studies: one question asked of many workspaces: folds, seeds and variants."""
