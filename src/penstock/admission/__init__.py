"""The gate: pure rules for rates, concurrency, pools and money. Time is passed in."""

from penstock.admission.ask import (
    Admit,
    Ask,
    BudgetUse,
    Decision,
    Grant,
    LimitUse,
    Observed,
    Past,
    RefusalKind,
    Reject,
    Wait,
)
from penstock.admission.estimates import CallEstimate, OutputEstimator
from penstock.admission.gate import Gate
from penstock.admission.limits import Budget, Concurrency, GateLimits, RateLimit
from penstock.admission.money import PastMoney
from penstock.admission.periods import Periods, period_ends
from penstock.admission.program_budgets import ProgramBudgets, most_tokens

__all__ = [
    "Admit",
    "Ask",
    "Budget",
    "BudgetUse",
    "CallEstimate",
    "Concurrency",
    "Decision",
    "Gate",
    "GateLimits",
    "Grant",
    "LimitUse",
    "Observed",
    "OutputEstimator",
    "Past",
    "PastMoney",
    "Periods",
    "ProgramBudgets",
    "RateLimit",
    "RefusalKind",
    "Reject",
    "Wait",
    "most_tokens",
    "period_ends",
]
