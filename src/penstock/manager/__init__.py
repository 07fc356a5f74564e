"""The library face, and the one room where concrete parts are wired together."""

from penstock.manager.engine import Manager, open_store
from penstock.manager.retrying import again
from penstock.manager.submission import Submission

__all__ = ["Manager", "Submission", "again", "open_store"]
