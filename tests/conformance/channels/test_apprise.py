from typing import Any

import pytest

from knell.channels.apprise import AppriseChannel
from knell.testing import ChannelConformance, Stage


class TestApprise(ChannelConformance):
    """Apprise's `json://`, to a server of the kit's."""

    channel = AppriseChannel
    opaque = True

    @pytest.fixture(autouse=True)
    def _keep_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._environment = monkeypatch

    def section(self, stage: Stage) -> dict[str, Any]:
        """Name the server by Apprise's schema, with a token in the path and a password."""
        if stage.certificate:
            self._environment.setenv("REQUESTS_CA_BUNDLE", stage.ca_file)  # where `requests` looks
        schema = "jsons" if stage.certificate else "json"
        host = stage.url.partition("://")[2]
        token, password = stage.secret("token"), stage.secret("password")
        return {"urls": [f"{schema}://user:{password}@{host}/{token}"]}
