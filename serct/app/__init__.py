"""The demonstrator: a page that uses the service."""
