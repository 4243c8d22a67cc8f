"""What all corpora share: where to find a copy, how to download, list, label and verify files."""
