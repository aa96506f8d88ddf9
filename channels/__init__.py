"""Channels: one file per provider. Each translates a message and classifies the answer; nothing else."""
