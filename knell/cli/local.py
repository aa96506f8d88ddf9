"""The store file of a configuration, for commands that need no service."""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from knell.cli.address import way_in
from knell.cli.remote import Page
from knell.config.load import sections
from knell.errors import KnellError, StoreLocked
from knell.store import open_reader, open_store
from knell.store.contract import REPLAY_INTERVAL, Reader, Store
from knell.store.records import DeliveryDetail, Selection


class Local:
    """Reads beside a running service, and writes when none has the store.

    Raises:
        ConfigError: the sections `store` and `http` are wrong.
        StoreError: from every method: there is no such store, or it cannot be read or written.
    """

    def __init__(self, config: str | None) -> None:
        self._config = sections(config, "store", "http")
        self._url = self._config.store.url

    def deliveries(self, selection: Selection, cursor: str = "", limit: int = 100) -> Page:
        """Return a page of the deliveries that are selected, and how many there are in all."""
        with self._reader() as reader:
            found = reader.deliveries(selection, cursor, limit + 1)
            more = found[limit - 1].cursor if len(found) > limit else None
            return Page(found[:limit], more, reader.count(selection))

    def delivery(self, id_: str) -> DeliveryDetail:
        """Return one delivery with its history.

        Raises:
            KnellError: there is none.
        """
        with self._reader() as reader:
            found = reader.delivery(id_)
        if found is None:
            raise KnellError(f"there is no delivery {id_!r}")
        return found

    def replay(self, selection: Selection, by: str) -> int:
        """Let deliveries be tried again by the next start; return how many.

        Raises:
            KnellError: another process has the store.
        """
        return self._change(
            lambda store, now: sum(store.replay(selection, _by(by), now, REPLAY_INTERVAL).values())
        )

    def cancel(self, selection: Selection, by: str) -> int:
        """Give deliveries up for good; return how many.

        Raises:
            KnellError: another process has the store.
        """
        return self._change(lambda store, now: len(store.cancel(selection, _by(by), now)))

    @contextmanager
    def _reader(self) -> Generator[Reader]:
        reader = open_reader(self._url)
        try:
            yield reader
        finally:
            reader.close()

    def _change(self, work: Callable[[Store, float], int]) -> int:
        with self._reader() as reader:
            reader.status("")  # a store that is not there is not made by asking for it
        logging.getLogger("knell").addHandler(logging.NullHandler())  # the answer says it all
        store = open_store(self._url)
        try:
            store.open()
            store.begin()
            done = work(store, time.time())
            store.commit()
        except StoreLocked as error:
            raise KnellError(f"{error}; {way_in(self._config.http, 'let it do that')}") from error
        finally:
            store.close()
        return done


def _by(user: str) -> str:
    return f"cli: {user}" if user else "cli"
