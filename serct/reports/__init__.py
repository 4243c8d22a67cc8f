"""The report: what the stages wrote, read back, lined up and shown."""
