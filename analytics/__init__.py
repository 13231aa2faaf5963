"""What telemetry means: which drive will fail, why a job died, how much parallelism a service needs. Pure functions."""
