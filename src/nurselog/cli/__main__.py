"""`python -m nurselog.cli`."""

import sys

from . import main

sys.exit(main())
