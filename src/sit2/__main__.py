"""``python -m sit2``: the command."""

import sys

from sit2.cli import main

sys.exit(main())
