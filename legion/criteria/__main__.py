"""Print the page of the criteria: ``python -m legion.criteria > docs/criteria.md``."""

from __future__ import annotations

import sys

from .page import page


if __name__ == "__main__":
    sys.stdout.write(page())
