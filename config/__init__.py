"""Configuration: the schema, the strict YAML loader, and secrets."""
