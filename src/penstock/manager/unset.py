"""What stands for an argument that was not given."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Unset(Enum):
    """Stands for an argument that was not given, where `None` means something."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
