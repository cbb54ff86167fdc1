"""``python -m sit2``: the command."""

import sys

from sit2.cli.command import main

sys.exit(main())
