"""How well failures of drives are foretold, beside the rule and a peer, and what it costs for a million drives."""
