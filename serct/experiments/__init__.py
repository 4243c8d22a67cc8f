"""Whole experiments: workspaces, their scheduler, studies, search, benchmark."""
