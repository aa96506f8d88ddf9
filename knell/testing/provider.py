"""A provider of the kit's own, for channels whose provider has no stand-in in `knell.lab`."""

import ssl
from itertools import count
from typing import Any

from knell.lab.lab import Lab
from knell.lab.record import Answer, Message, Request
from knell.lab.server import HttpStandIn, as_json
from knell.lab.standin import Setting, StandIn


class Provider(HttpStandIn):
    """A web service on 127.0.0.1 that takes every request, keeps it, and fails as a test scripts it.

    Refuse in `refusal` what the real one refuses, and answer in `accepted` as it does.
    """

    name = "provider"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._numbers = count(1)

    def section(self) -> dict[str, Any]:
        """Return a channel section: the root of its addresses as `url`."""
        return {"url": self.base_url}

    def refusal(self, request: Request) -> Answer | None:
        """Return the answer to a request that is not taken; None takes it."""
        del request
        return None

    def accepted(self, request: Request, number: int) -> Answer:
        """Return the answer to a request that was taken."""
        del request
        return as_json(200, {"id": number})

    def is_message(self, request: Request) -> bool:
        """Whether people get to see what a taken request says; asking for something sends nothing."""
        return request.method not in {"GET", "HEAD", "OPTIONS"}

    def answer(self, request: Request) -> Answer:
        """Refuse a request, or keep it."""
        if (refused := self.refusal(request)) is not None:
            return refused
        number = next(self._numbers)
        if self.is_message(request):
            self.accept(self._message(request, number))
        return self.accepted(request, number)

    def _message(self, request: Request, number: int) -> Message:
        text = request.body.decode("utf-8", "replace")
        return Message(
            provider=self.name,
            id=str(number),
            keys=(),
            received=self.now(),
            at=self.setting.clock(),
            payload=request.body,
            text=text,
            to=(request.path,),
        )


class Providers(Lab):
    """The provider of one channel, and a place nothing may ever be sent to."""

    def __init__(self, make: type[StandIn], certificates: ssl.SSLContext | None = None) -> None:
        super().__init__(certificates=certificates, rate_limited=False)
        self.provider: Any = make(self.slack.setting)
        self.trap = Provider(self.slack.setting)

    @property
    def stand_ins(self) -> tuple[StandIn, ...]:
        """Both."""
        return self.provider, self.trap
