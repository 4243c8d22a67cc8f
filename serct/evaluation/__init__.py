"""Scores of a model: on its test part, on corpora it has never seen, and how sure they are."""
