"""The long form: ``make secrets``. Secrets made at random, and every place where one could show.

    python -m tests.secrets --inputs 100000 --seed 7

Each input is a connection string, options or a failure with secrets made for it alone; what it showed (texts, log
records, local variables of tracebacks, pickles, labels) is searched for any part of them in any encoding. Most
inputs need no server; at least a thousand meet real ones. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import sys
import time

from .run import in_processes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="all of them (default: 100000)")
    parser.add_argument("--on-servers", type=int, help="of these with servers (default: 2 of 100, at least 1000)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    servers = arguments.on_servers
    if servers is None:
        servers = min(max(arguments.inputs // 50, 1000), arguments.inputs)
    print(f"seed {arguments.seed}", flush=True)
    findings = in_processes(arguments.inputs - servers, servers, arguments.seed, arguments.workers)
    print(findings.table())
    return 1 if findings.leaks else 0


if __name__ == "__main__":
    sys.exit(main())
