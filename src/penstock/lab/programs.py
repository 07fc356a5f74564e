"""Programs: calls that depend on each other, and what a strategy is told about the whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from penstock.errors import ConfigurationError
from penstock.lab.calls import Call
from penstock.lab.setup import Setup
from penstock.model.standing import Program, Standing


class ProgramBook:
    """Who waits for whom, and how much service each program needs and has had."""

    def __init__(self, calls: Sequence[Call], setup: Setup) -> None:
        self._setup = setup
        self._size: dict[str, float] = defaultdict(float)
        self._entered: dict[str, float] = {}
        self.attained: dict[str, float] = defaultdict(float)
        self._waiting: dict[str, dict[int, Call]] = defaultdict(dict)
        self._children: dict[int, list[Call]] = defaultdict(list)
        self._missing: dict[int, int] = {}
        self._first: dict[int, Call] = {}
        names = self._named(calls)
        for call in calls:
            request = call.request
            if request.depends_on:
                self._depend(call, names)
            if request.program:
                noise = 1.0 if setup.exact else request.program_noise
                self._size[request.program] += call.size(setup.unit) * noise
                self._entered.setdefault(request.program, request.arrival)
        self._check_cycles(calls)

    @staticmethod
    def _named(calls: Sequence[Call]) -> dict[tuple[str, str], Call]:
        names: dict[tuple[str, str], Call] = {}
        for one in calls:
            name = one.request.program, one.request.call
            if name[0] and name[1] and name in names:
                raise ConfigurationError(
                    f"call {name[1]!r} is twice in program {name[0]!r}{_lines(names[name], one)}; "
                    "a call has a name of its own"
                )
            if name[0]:
                names[name] = one
        return names

    def _depend(self, call: Call, names: dict[tuple[str, str], Call]) -> None:
        request = call.request
        parents = set(request.depends_on)
        for name in parents:
            parent = names.get((request.program, name))
            if parent is None:
                raise ConfigurationError(
                    f"call {request.call!r} of program {request.program!r} depends on {name!r}, "
                    f"which is no call of that program{_lines(call)}"
                )
            self._children[parent.row].append(call)
        self._missing[call.row] = len(parents)
        if request.place in ("made", "kept"):
            self._first[call.row] = names[request.program, request.depends_on[0]]

    def _check_cycles(self, calls: Sequence[Call]) -> None:
        missing = dict(self._missing)
        open_calls = [one for one in calls if one.row not in missing]
        for call in open_calls:
            for child in self._children.get(call.row, ()):
                missing[child.row] -= 1
                if not missing[child.row]:
                    open_calls.append(child)
        if len(open_calls) < len(calls):
            stuck = [one for one in calls if missing.get(one.row)]
            names = sorted({one.request.program for one in stuck})
            raise ConfigurationError(
                f"calls depend on each other in a circle in program {', '.join(names[:5])}{_lines(*stuck)}"
            )

    def roots(self, calls: Sequence[Call]) -> list[Call]:
        """The calls that depend on nothing."""
        return [one for one in calls if one.row not in self._missing] if self._missing else list(calls)

    def ended(self, call: Call, now: float) -> list[Call]:
        """The calls that may go now that `call` has ended, their `arrival` set after their think time."""
        children = self._children.get(call.row)
        if not children:
            return []
        released = []
        for child in children:
            self._missing[child.row] -= 1
            if not self._missing[child.row]:
                child.arrival = now + child.request.think
                released.append(child)
        return released

    def queued(self, call: Call) -> None:
        """A call stands in line."""
        if call.request.program:
            self._waiting[call.request.program][call.row] = call

    def seated(self, call: Call) -> None:
        """A call has left the line."""
        if call.request.program:
            del self._waiting[call.request.program][call.row]

    def serve(self, call: Call, amount: float) -> list[Call]:
        """Book service that a call has had; the calls in line that stand otherwise now."""
        name = call.request.program
        if not name:
            return []
        self.attained[name] += amount
        if not (self._setup.program_rerank and self._setup.program_progress):
            return []
        changed = list(self._waiting[name].values())
        for one in changed:
            self.refresh(one)
        return changed

    def refresh(self, call: Call) -> None:
        """Tell a call's standing what its whole program has had by now."""
        if call.request.program:
            call.standing = replace(call.standing, program=self._program(call.request.program))

    def standing(self, call: Call, now: float) -> Standing:
        """Where a call stands that gets in line now: what a strategy may look at."""
        request, unit = call.request, self._setup.unit
        first = self._first.get(call.row)
        if first is not None:
            call.entered = first.finish if request.place == "made" else first.entered
        elif not request.place:
            call.entered = now
        noise = 1.0 if self._setup.exact else request.noise
        return Standing(
            entered_at=call.entered,
            priority=request.priority,
            deadline=None if request.deadline is None else now + request.deadline,
            tenant=request.tenant,
            size=call.size(unit) * noise,
            seconds_left=call.service * noise,
            turn_at=now,
            program=self._program(request.program) if request.program else None,
        )

    def _program(self, name: str) -> Program:
        attained = self.attained[name] if self._setup.program_progress else 0.0
        return Program(name, self._entered[name], self._size[name], attained)


def _lines(*calls: Call) -> str:
    """Where calls stand in the file of their trace."""
    lines = sorted(one.request.line for one in calls if one.request.line)
    shown = ", ".join(str(line) for line in lines[:5]) + (", ..." if len(lines) > 5 else "")
    return f" (line{'s' if len(lines) > 1 else ''} {shown})" if lines else ""
