"""``python -m legion`` is the command ``legion``."""

import sys

from .cli import main


sys.exit(main())
