"""`penstock demo`: the main job on texts of this machine, with a simulated provider and a planned crash."""
