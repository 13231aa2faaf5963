"""Where an agent's records come from: one small interface and the sources behind it."""
