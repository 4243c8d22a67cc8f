"""This machine and others: devices, whole files, executors, processes of one training."""
