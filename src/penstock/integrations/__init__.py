"""Other libraries on Penstock; each is imported inside its own folder only."""
