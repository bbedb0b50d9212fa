"""What serves all studies: grids, claims, panels, the paper's numbers, time."""
