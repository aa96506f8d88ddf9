"""The actors: the only place that knows pykka and threads."""
