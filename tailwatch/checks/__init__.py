"""The checks of `tailwatch doctor`, one module for each thing that is looked at."""
