"""The shelf: files of clients, their bytes in a folder beside the store, their names in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from penstock.manager.engine import Manager
from penstock.model.ids import new_id
from penstock.model.order import StoredFile
from penstock.service.errors import HttpProblem
from penstock.service.gateway.bodies import too_large

if TYPE_CHECKING:
    from penstock.service.service import ServiceConfig

TIDY_SECONDS = 60.0
_PARTIAL = ".partial"


@dataclass(slots=True)
class Draft:
    """A file that is being written; it is no file before it is kept."""

    path: Path
    file: IO[bytes]
    most: int
    size: int = 0

    def write(self, data: bytes) -> None:
        """Add to it; raises `HttpProblem` 413 when it gets too long."""
        self.size += len(data)
        if self.size > self.most:
            raise too_large(self.most)
        self.file.write(data)

    def drop(self) -> None:
        """Forget it; nothing for one that was kept."""
        self.file.close()
        self.path.unlink(missing_ok=True)


class Shelf:
    """Keeps files of tenants, each and all of a tenant together bounded, until they expire."""

    def __init__(self, engine: Manager, config: ServiceConfig) -> None:
        self._engine = engine
        self._config = config
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._folder = Path()
        self._tidying: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the folder, and remove what an earlier life left half-written."""
        self._folder = self._find_folder()
        known = {file.id for file in await self._engine.read(lambda reader: reader.files(None, "", 10**9))}
        for path in self._folder.iterdir():
            if path.suffix == _PARTIAL or path.name not in known:
                path.unlink(missing_ok=True)
        self._tidying = asyncio.create_task(self._tidy_forever())

    async def close(self) -> None:
        if self._tidying is not None:
            self._tidying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tidying
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    async def draft(self, tenant: str, most: int | None = None) -> Draft:
        """A new file of a tenant, at most as long as there is room. Raises `HttpProblem` 413 where there is
        none."""
        used = await self._engine.read(lambda reader: reader.file_bytes(tenant))
        room = self._config.max_files - used
        if room <= 0:
            raise HttpProblem(
                413,
                "files_full",
                f"the files of this key take up all of {self._config.max_files:,} bytes; delete some",
                headers={"x-should-retry": "false"},
            )
        return self.page(min(room, self._config.max_file if most is None else most))

    def page(self, most: int) -> Draft:
        """A new file of the server's own making, at most so long."""
        path = self._folder / (new_id() + _PARTIAL)
        return Draft(path, os.fdopen(os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o600), "r+b"), most)

    async def keep(self, draft: Draft, row: StoredFile) -> StoredFile:
        """Make a draft a file: its bytes are safe before its row is."""
        await self.settle(draft, row.id)
        await self._engine.node.committer.run(lambda store: store.put_file(row))
        return row

    async def settle(self, draft: Draft, id: str) -> None:
        """Put the bytes of a draft in their place; the row is the caller's."""
        await asyncio.to_thread(_settle, draft, self._folder / id)

    def path(self, id: str) -> Path:
        """Where the bytes of a file are."""
        return self._folder / id

    async def file(self, id: str, tenant: str | None) -> StoredFile:
        """The file as its owner sees it (`tenant` `None`: everybody's). Raises `HttpProblem` 404."""
        found: StoredFile | None = await self._engine.read(lambda reader: reader.file(id))
        gone = found is None or (found.expires_at or float("inf")) <= self._engine.clock.wall()
        if found is None or gone or tenant not in (None, found.tenant):
            raise HttpProblem(404, "file_not_found", f"there is no file {id}", param="file_id")
        return found

    async def drop(self, file: StoredFile) -> None:
        """Delete a file."""
        await self._engine.node.committer.run(lambda store: store.drop_file(file.id))
        self.path(file.id).unlink(missing_ok=True)

    async def _tidy_forever(self) -> None:
        while True:
            now = self._engine.clock.wall()
            for file in await self._engine.read(lambda reader, now=now: reader.expired_files(now)):  # type: ignore[misc]
                await self.drop(file)
            await asyncio.sleep(TIDY_SECONDS)

    def _find_folder(self) -> Path:
        given, store = self._config.files_folder, self._engine.settings.store
        if given is None and store == "memory":
            self._temporary = tempfile.TemporaryDirectory(prefix="penstock-")
            return Path(self._temporary.name)
        named = store.removeprefix("sqlite:///") + ".files" if given is None else given
        folder = Path(named).expanduser().resolve()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


def _settle(draft: Draft, path: Path) -> None:
    with draft.file as file:
        file.flush()
        os.fsync(file.fileno())
    draft.path.replace(path)
