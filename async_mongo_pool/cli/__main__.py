"""``python -m async_mongo_pool`` and the console script ``async-mongo-pool``."""

from __future__ import annotations

import enum
import sys
from typing import Annotated

try:
    import typer

    from async_mongo_pool.cli.demo import Plan, run
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
        raise
    sys.stderr.write('async-mongo-pool needs its cli extra: pip install "async_mongo_pool[cli]"\n')
    raise SystemExit(2) from None
except KeyboardInterrupt:
    # The imports take long enough to be interrupted.
    raise SystemExit(130) from None

__all__ = ["main"]

application = typer.Typer(
    name="async-mongo-pool",
    help="The MongoDB connection pool for asyncio services, on the command line.",
    no_args_is_help=True,
    add_completion=False,
    # A traceback with local variables would show the credentials of --uri.
    pretty_exceptions_enable=False,
)


class Backend(enum.StrEnum):
    """The drivers to choose from."""

    motor = "motor"
    pymongo = "pymongo"


@application.callback()
def commands() -> None:
    """The MongoDB connection pool for asyncio services, on the command line."""


@application.command()
def demo(
    uri: Annotated[
        str | None,
        typer.Option(
            envvar="MONGODB_URI",
            show_default=False,
            help="The server to use. Default: a MongoDB started for the demo (extra: embedded).",
        ),
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Whose client the pool holds.")] = Backend.motor,
    tasks: Annotated[int, typer.Option(min=1, max=10_000, help="Tasks that run operations at once.")] = 200,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long the load on the pool runs.")] = 5,
    latency: Annotated[
        int,
        typer.Option(
            min=0, max=1000, help="Milliseconds that a MongoDB started for the demo waits before each operation."
        ),
    ] = 5,
) -> None:
    """Watch one pool serve a load, beside plain clients.

    A database of its own is made for it and removed afterwards. Ctrl-C ends it at any time.
    """
    raise typer.Exit(run(Plan(uri or None, backend.value, tasks, seconds, latency)))


def main() -> None:
    """Run the command line."""
    application()


if __name__ == "__main__":
    main()
