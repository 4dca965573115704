"""`python -m gradserve.cli`, for where the script is not on the path."""

import sys

from gradserve.cli import main

if __name__ == "__main__":
    sys.exit(main())
