"""Promotion: which version is the champion, decided by gates and recorded."""

from serct.promotion.decision import Promotion, promote, rollback
from serct.promotion.gates import Gate

__all__ = ["Gate", "Promotion", "promote", "rollback"]
