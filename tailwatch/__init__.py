"""The command line; assembles the parts into processes."""
