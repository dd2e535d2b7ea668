"""``python -m failover``: see ``failover.cli``."""

import sys

from failover.cli import main

if __name__ == "__main__":
    sys.exit(main())
