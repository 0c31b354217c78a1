# -*- test-case-name: tests.cli.test_app -*-
"""
C{python -m atmosphere}: the command line, for where the program itself is not on the path.
"""

from .cli import main

if __name__ == "__main__":
    main()
