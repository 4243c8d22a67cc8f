"""Clients' audio, decoded in processes of their own."""
