"""Promotion: which version people are served with, decided by gates and kept on record."""

from serct.promotion.decision import Promotion, promote, rollback
from serct.promotion.gates import Gate

__all__ = ["Gate", "Promotion", "promote", "rollback"]
