"""`penstock run`: every line of a file ends in exactly one of two files, results or errors."""
