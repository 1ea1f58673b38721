"""``python3 -m csd_addon demo | texture | resume | doctor | runtime``: see ``cli/main.py``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
