"""Policies: pure machines that decide. No clock, thread, dice or I/O: all of that is passed in."""
