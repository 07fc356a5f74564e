"""Where tasks live. `contract.py` says what a store promises; one folder per store beside it."""
