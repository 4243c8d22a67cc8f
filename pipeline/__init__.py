"""The pipeline's stages, one script each, run by DVC: `python -m pipeline.<stage>`."""
