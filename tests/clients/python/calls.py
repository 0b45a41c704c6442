"""What the Python clients share: they call AWS as often as the command line says.

Each call prints a line, `ok` or `failed`, and the program fails if a call did. Whose credentials
the calls are signed with is the client's own business: its default chain.
"""

import sys


def run(call):
    """Calls one after another; whoever answers sets the pace."""
    failures = 0
    for _ in range(int(sys.argv[1])):
        try:
            print("ok", call(), flush=True)
        except Exception as error:
            failures += 1
            print(f"failed {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failures else 0)
