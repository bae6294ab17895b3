"""What Breakwater costs and how long it takes, against the simulator. Figures, never verdicts: nothing here fails on a
time."""
