"""This machine and others: devices, logging, atomic writes, executors, processes of a training."""
