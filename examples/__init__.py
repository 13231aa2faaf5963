"""Programs that use Tailwatch as services of others do; no part of the package that is installed."""
