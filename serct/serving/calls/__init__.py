"""Long recordings, which are decoded and predicted while they arrive."""
