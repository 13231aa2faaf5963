"""How fast logs of GPU jobs are read, how well failures are told, and what retry advice would save, beside peers."""
