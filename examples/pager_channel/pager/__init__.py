"""A channel for knell in a package of its own."""
