"""See `command`."""

from penstock.testing.simulation.command import main

if __name__ == "__main__":
    raise SystemExit(main())
