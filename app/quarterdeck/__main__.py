"""`python -m quarterdeck` is the same as the `quarterdeck` command."""

import sys

from quarterdeck.cli import main

if __name__ == "__main__":
    sys.exit(main())
