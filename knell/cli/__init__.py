"""The command line (contract, section 3)."""
