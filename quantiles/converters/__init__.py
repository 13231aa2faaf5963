"""Sketches to and from the histograms of other systems; each format is a module of its own, imported by name."""
