"""The service's HTTP server (contract, section 5)."""
