"""The provider's refusals in words and codes, before a wire format dresses them."""

from __future__ import annotations

from penstock.simulator.faults import Fault, FaultDealer
from penstock.simulator.limits import OverLimit
from penstock.simulator.wire import BadCall, Failure, go_duration

_SHORT = {"requests": "RPM", "tokens": "TPM"}


def not_json() -> BadCall:
    """The body is no JSON object."""
    message = "We could not parse the body of your request: it is not a JSON object."
    return BadCall(Failure(400, message, "invalid_request_error"))


def wrong_key(given: str) -> BadCall:
    """The key is missing or wrong; of a wrong one only its end is repeated."""
    shown = f"*{given[-4:]}" if len(given) > 8 else "none or too short"
    message = f"Incorrect API key provided: {shown}."
    return BadCall(Failure(401, message, "invalid_request_error", "invalid_api_key"))


def over_limit(over: OverLimit, model: str, window_seconds: float) -> Failure:
    """The 429 of a limit; one that can never fit says so and names no time to come back."""
    per = f"per min ({_SHORT[over.resource]})" if window_seconds == 60 else f"per {window_seconds:g}s"
    where = f"{model} in organization org-simulator on {over.resource} {per}: Limit {over.limit}"
    if over.retry_after is None:
        message = (
            f"Request too large for {where}, Requested {over.requested}. It can never fit: make it smaller."
        )
    else:
        pause = go_duration(over.retry_after)
        message = (
            f"Rate limit reached for {where}, Used {over.used}, Requested {over.requested}. "
            f"Please try again in {pause}."
        )
    return Failure(429, message, over.resource, "rate_limit_exceeded", retry_after=over.retry_after)


def of_fault(fault: Fault, dealer: FaultDealer, now: float) -> Failure:
    """The error of a fault that answers with one."""
    if fault is Fault.BURST_429:
        code = dealer.burst_code
        kind = "rate_limit_error" if code == "slow_down" else "requests"
        message = "Too many requests at once. Please slow down."
        return Failure(429, message, kind, code, retry_after=dealer.burst_left(now))
    return _ERRORS[fault]


_ERRORS = {
    Fault.ERROR_500: Failure(500, "The server had an error while processing your request.", "server_error"),
    Fault.ERROR_503: Failure(503, "The service is unavailable for a moment.", "server_error"),
    Fault.OVERLOADED: Failure(
        503, "The server is overloaded. Please try again later.", "server_error", "server_is_overloaded"
    ),
    Fault.INSUFFICIENT_QUOTA: Failure(
        429, "You have no credit left. Check your plan.", "insufficient_quota", "credit_balance_exhausted"
    ),
}
