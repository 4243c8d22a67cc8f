"""From recordings to rows: corpora, audio, manifests, splits, shards."""
