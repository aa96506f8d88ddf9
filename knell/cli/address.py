"""Where the service of a configuration is to be found."""

from knell.config.schema import Http

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is listened on and cannot be called


def serves(http: Http) -> bool:
    """Whether `knell run` has an HTTP server: unless the configuration switches it off."""
    return http.enabled or "enabled" not in http.model_fields_set


def address(http: Http) -> str | None:
    """Return the URL of the service; None when the port is any free one."""
    host, port = http.address
    if port == 0:
        return None
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def way_in(http: Http, what: str) -> str:
    """Say how to do something by way of the service that has the store."""
    url = address(http) or "URL (it prints it)"
    way = f"{what}: --url {url}" if serves(http) else "stop it first: it has no HTTP (http.enabled)"
    return f"if that is 'knell run', {way}"
