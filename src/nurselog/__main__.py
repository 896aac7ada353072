"""`python -m nurselog`: the command, where only the Python is known that has it."""

import sys

from .cli import main

sys.exit(main())
