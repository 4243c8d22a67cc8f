"""Decoders, the checks that a file is complete, and the level that models get."""
