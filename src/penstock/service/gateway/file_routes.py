"""The routes of files: upload, list, look, read, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse

from penstock.model.ids import new_id
from penstock.model.order import Order, StoredFile
from penstock.service.access import Submitter, Viewer
from penstock.service.errors import HttpProblem
from penstock.service.gateway.bodies import refuse_large
from penstock.service.gateway.calling import ERRORS
from penstock.service.gateway.pages import owner, page
from penstock.service.gateway.shelf import Draft
from penstock.service.gateway.uploads import Form, read_form
from penstock.service.service import ServiceOf

routes = APIRouter(tags=["gateway"], responses=ERRORS)

FileId = Annotated[str, Path(max_length=100)]
SHORTEST_LIFE, LONGEST_LIFE = 3_600, 2_592_000
# A form is a little longer than its file.
FORM_ROOM = 100_000
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string"},
                        "expires_after[anchor]": {"type": "string"},
                        "expires_after[seconds]": {"type": "string"},
                    },
                }
            }
        },
    }
}


def file_body(file: StoredFile) -> dict[str, Any]:
    """A file as clients read it."""
    shown: dict[str, Any] = {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }
    return shown if file.expires_at is None else {**shown, "expires_at": int(file.expires_at)}


@routes.post("/v1/files", openapi_extra=_FORM)
async def upload(request: Request, service: ServiceOf, principal: Submitter) -> dict[str, Any]:
    """Keep a file; it goes to disk as it comes."""
    shelf, now = service.gateway.shelf, service.engine.clock.wall()
    refuse_large(request, service.config.max_file + FORM_ROOM)
    draft = await shelf.draft(principal.tenant)
    try:
        form = await read_form(request, draft)
        file = _file(form, draft, principal.tenant, now)
        return file_body(await shelf.keep(draft, file))
    finally:
        draft.drop()


def _file(form: Form, draft: Draft, tenant: str, now: float) -> StoredFile:
    purpose = form.fields.get("purpose", "")
    if form.filename is None or not 0 < len(purpose) <= 100:
        missing = "file" if form.filename is None else "purpose"
        raise HttpProblem(400, "missing_field", f"the form has no {missing}", param=missing)
    life = form.fields.get("expires_after[seconds]")
    if life is not None and not _fits(life):
        raise HttpProblem(
            400,
            "invalid_field",
            f"expires_after: give {SHORTEST_LIFE:,} to {LONGEST_LIFE:,} seconds",
            param="expires_after",
        )
    expires_at = None if life is None else now + int(life)
    return StoredFile(f"file-{new_id()}", tenant, purpose, form.filename, draft.size, now, expires_at)


def _fits(life: str) -> bool:
    return len(life) <= 20 and life.isdecimal() and SHORTEST_LIFE <= int(life) <= LONGEST_LIFE


@routes.get("/v1/files")
async def list_files(
    service: ServiceOf,
    principal: Viewer,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    after: Annotated[str, Query(max_length=100)] = "",
    purpose: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """The caller's files, newest first."""
    tenant = owner(principal)
    most = limit + 1 if purpose is None else 100_000
    found = await service.engine.read(lambda reader: reader.files(tenant, after, most))
    wanted = [file for file in found if purpose in (None, file.purpose)]
    return page(wanted, limit, file_body)


@routes.get("/v1/files/{file_id}")
async def look_at_file(file_id: FileId, service: ServiceOf, principal: Viewer) -> dict[str, Any]:
    """What is known of a file."""
    return file_body(await service.gateway.shelf.file(file_id, owner(principal)))


@routes.get("/v1/files/{file_id}/content", response_class=FileResponse)
async def read_file(file_id: FileId, service: ServiceOf, principal: Viewer) -> FileResponse:
    """The bytes of a file."""
    shelf = service.gateway.shelf
    file = await shelf.file(file_id, owner(principal))
    return FileResponse(shelf.path(file.id), media_type="application/octet-stream", filename=file.filename)


@routes.delete("/v1/files/{file_id}")
async def delete_file(file_id: FileId, service: ServiceOf, principal: Submitter) -> dict[str, Any]:
    """Delete a file that no batch is being made of."""
    shelf = service.gateway.shelf
    file = await shelf.file(file_id, owner(principal))
    going: list[Order] = await service.engine.read(lambda reader: reader.open_orders())
    if any(order.body.get("input_file_id") == file.id for order in going):
        raise HttpProblem(
            409, "file_in_use", f"a batch still reads {file.id}", headers={"x-should-retry": "false"}
        )
    await shelf.drop(file)
    return {"id": file.id, "object": "file", "deleted": True}
