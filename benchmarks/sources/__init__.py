"""Sources of telemetry that operators already have: what one core receives, takes apart and sketches, beside peers."""
