"""What the face keeps with a task: a few reserved tags and fields of its metadata, which no reply shows.

Both begin with "penstock.": `name`, `estimated_time` and `webhook` (a URL) in the metadata; the tag
"penstock.webhook" where a URL is to be told of the end, "penstock.batch/TENANT/ID" on tasks that came
together.
"""

from __future__ import annotations

import hashlib
from typing import Any

RESERVED = "penstock."
NAME, ESTIMATED_TIME, WEBHOOK = "penstock.name", "penstock.estimated_time", "penstock.webhook"
WEBHOOK_TAG = "penstock.webhook"


def batch_prefix(tenant: str) -> str:
    """How the tags of all batches of a tenant begin."""
    scope = hashlib.sha256(tenant.encode()).hexdigest()[:24] if tenant else ""
    return f"penstock.batch/{scope}/"


def batch_tag(tenant: str, id: str) -> str:
    """The tag of a batch's tasks."""
    return batch_prefix(tenant) + id


def batch_of(tags: tuple[str, ...]) -> str | None:
    """The batch that a task came with."""
    return next((tag.rpartition("/")[2] for tag in tags if tag.startswith("penstock.batch/")), None)


def workflow_key(tenant: str, workflow: str) -> str:
    """The program that stands for a workflow of a tenant: no tenant can reach another's by its name."""
    return f"{tenant}/{workflow}" if tenant else workflow


def workflow_name(tenant: str, program: str | None) -> str | None:
    """The workflow's name that a program stands for."""
    return program if program is None or not tenant else program.removeprefix(f"{tenant}/")


def shown_tags(tags: tuple[str, ...]) -> list[str]:
    """The tags without the reserved ones."""
    return [tag for tag in tags if not tag.startswith(RESERVED)]


def shown_metadata(metadata: Any) -> Any:
    """The metadata without the reserved fields; an empty object becomes null only where none was given."""
    if not isinstance(metadata, dict):
        return metadata
    shown = {name: value for name, value in metadata.items() if not name.startswith(RESERVED)}
    return shown if shown or len(shown) == len(metadata) else None


def label(metadata: Any, name: str) -> Any:
    """A reserved field of the metadata, `None` where it is not there."""
    return metadata.get(name) if isinstance(metadata, dict) else None
