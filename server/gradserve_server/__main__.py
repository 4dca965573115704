"""`python -m gradserve_server`: the same as `gradserve serve`."""

import sys

from gradserve_server.app import main

if __name__ == "__main__":
    sys.exit(main())
