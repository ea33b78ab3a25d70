"""What every node of the session shares: its main, its clock, its parameters, its events."""
