"""The verbs of the store contract over named SQL statements; each dialect has a folder of its own."""
