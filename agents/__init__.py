"""The agent: reads sources, runs its part of each query, spools and ships frames."""
