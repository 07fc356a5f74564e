"""`penstock demo`: the main job on texts of this machine, with a simulated provider, a planned crash and a proof."""
