"""The demonstrator: a page that asks the service."""
