"""FILE_OPERATION: read, write, append to, list and delete files below the root of the manager."""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pydantic import field_validator, model_validator

from penstock.errors import InvalidTask
from penstock.model.task_type import TaskType
from penstock.task_types.base import TaskData, TaskKind, Toolbox
from penstock.task_types.field_types import wrong
from penstock.task_types.sandbox import Sandbox, read_name

if TYPE_CHECKING:
    from penstock.runtime.context import TaskContext


class FileOperationData(TaskData):
    """`filename` is a path below the root, with slashes. `content` goes with write and append; with
    `encoding` "base64" it stands for bytes."""

    operation: Literal["read", "write", "append", "list", "delete"]
    filename: str | None = None
    content: str | None = None
    encoding: Literal["utf-8", "base64"] = "utf-8"

    @field_validator("filename")
    @classmethod
    def _inside(cls, filename: str | None) -> str | None:
        if filename is not None:
            try:
                read_name(filename)
            except ValueError as error:
                raise wrong(str(error)) from None
        return filename

    @model_validator(mode="after")
    def _together(self) -> FileOperationData:
        if self.filename is None and self.operation != "list":
            raise wrong(f"filename is missing; {self.operation} needs one")
        if (self.content is not None) != (self.operation in ("write", "append")):
            raise wrong(f"content {'goes with write and append' if self.content else 'is missing'}")
        try:
            _ = self.payload
        except (binascii.Error, UnicodeError) as error:
            raise wrong(f"content is no {self.encoding}: {error}") from None
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """The components of the path; none for the root."""
        return () if self.filename is None else read_name(self.filename)

    @property
    def payload(self) -> bytes:
        """What is to be written."""
        if self.encoding == "base64":
            return base64.b64decode((self.content or "").encode("ascii"), validate=True)
        return (self.content or "").encode()


def _refuse(data: FileOperationData, toolbox: Toolbox) -> None:
    where = f"data of a {TaskType.FILE_OPERATION} task"
    if toolbox.root is None:
        raise InvalidTask(f"{where}: there are no file operations here: the manager was given no root folder")
    if len(data.payload) > toolbox.most_bytes:
        raise InvalidTask(f"{where}: content is larger than {toolbox.most_bytes:,} bytes")


async def run(context: TaskContext, data: FileOperationData, toolbox: Toolbox) -> dict[str, Any]:
    """An object with `filename` and what the operation found out; see the guide of this type.

    Every operation is one step, and done once: an append is not repeated by a crash.
    """
    _refuse(data, toolbox)
    assert toolbox.root is not None
    root = await context.services.in_thread(root_of, toolbox.root, context.tenant)
    sandbox, parts = Sandbox(root, toolbox.most_bytes), data.parts
    match data.operation:
        case "read":
            found = await context.step("read", _read, sandbox, parts, data.encoding, key="")
        case "write":
            found = {"size": await context.step("write", sandbox.write, parts, data.payload, key="")}
        case "append":
            found = {"size": await _append(context, sandbox, data, toolbox)}
        case "list":
            found = {"entries": await context.step("list", sandbox.entries, parts, key="")}
        case "delete":
            found = {"deleted": await context.step("delete", sandbox.delete, parts, key="")}
    return {"filename": data.filename or "", **found}


def root_of(root: Path, tenant: str) -> Path:
    """The folder that tasks of a tenant stay in, made when it is missing; those of no tenant see all."""
    if not tenant:
        return root
    name = quote(tenant, safe="")
    own = root / f"@{name if len(name) <= 200 else hashlib.sha256(tenant.encode()).hexdigest()}"
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def _read(sandbox: Sandbox, parts: tuple[str, ...], encoding: str) -> dict[str, Any]:
    content = sandbox.read(parts)
    if encoding == "base64":
        return {"content": base64.b64encode(content).decode("ascii"), "size": len(content)}
    try:
        return {"content": content.decode(), "size": len(content)}
    except UnicodeDecodeError as error:
        message = f"{'/'.join(parts)!r} is no UTF-8 ({error.reason} at {error.start}); read it as base64"
        raise InvalidTask(message) from None


async def _append(context: TaskContext, sandbox: Sandbox, data: FileOperationData, toolbox: Toolbox) -> int:
    """Where the content is to stand is recorded before it is put there, so that after a crash the file tells
    whether it was. Appends of this manager to one file go one after the other."""
    parts, content = data.parts, data.payload
    async with toolbox.turns.turn("/".join(parts), context.off_slot):
        for number in itertools.count():
            life = uuid.uuid4().hex

            def place(life: str = life) -> list[Any]:
                return [life, sandbox.size(parts)]

            begun, offset = await context.step("append at", place, key=str(number))
            size = await context.step(
                "append", sandbox.append, parts, offset, content, begun != life, key=str(number)
            )
            if size is not None:
                return int(size)
    raise AssertionError("unreachable")


KIND = TaskKind(TaskType.FILE_OPERATION, FileOperationData, run, refuse=_refuse)
