"""The gate: every forward act is allowed, asked about, or denied, and why."""

from .asks import Ask, AskState
from .gate import SafetyGate
from .policy import Policy
from .receipts import Executed, Intent


__all__ = ["Ask", "AskState", "Executed", "Intent", "Policy", "SafetyGate"]
