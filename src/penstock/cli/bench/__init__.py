"""`penstock bench`: one file per measurement, and what they share."""
