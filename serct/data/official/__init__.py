"""Divisions of a corpus that others made: a table of parts, or the folds of EmoBox."""
