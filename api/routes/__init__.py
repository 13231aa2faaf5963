"""The routes, one module per resource; each holds a `router`."""
