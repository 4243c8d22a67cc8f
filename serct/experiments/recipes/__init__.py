"""Recipes: what decides the output of each stage besides its input files.

DVC sees files and whole sections of params.yaml. One of a hundred modules, or a key that one of ten
models uses, would rerun far too much or nothing. So two stages come first, which write a recipe for
each corpus and each model: the digests of the modules that a stage runs, and the params that it
uses. A stage depends on its recipe.
"""

from serct.experiments.recipes.leftovers import set_leftovers_aside
from serct.experiments.recipes.stages import (
    division_changed,
    write_corpus_recipes,
    write_model_recipes,
)

__all__ = ["division_changed", "set_leftovers_aside", "write_corpus_recipes", "write_model_recipes"]
