"""The plain-Python definitions of the unit tests are compared with here too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "unit" / "dedup"))
