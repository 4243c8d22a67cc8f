"""Fitted classical models as modules of torch, which `serct.inference.exporting` traces.

They compute what NumPy and scikit-learn do, for a whole batch and in float64 where those do.
"""
