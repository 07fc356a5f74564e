"""Words as types: what every other room speaks in. Pure: no I/O, no waiting."""
