"""The service: a model from the registry, over HTTP and WebSocket."""
