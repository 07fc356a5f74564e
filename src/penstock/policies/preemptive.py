"""Priority with ageing, between steps too."""

from __future__ import annotations

from penstock.policies.priority import PriorityWithAgeing


class Preemptive(PriorityWithAgeing):
    """As `priority`; a better-ranked waiting task takes the place of a running one at its next step."""

    name = "preemptive"
    preemptive = True
