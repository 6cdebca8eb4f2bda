"""``python -m async_mongo_pool`` and the console script ``async-mongo-pool``."""

from __future__ import annotations

import enum
import os
import sys
from typing import Annotated, Any

try:
    import typer
    import typer.core

    from async_mongo_pool.cli import top as live
    from async_mongo_pool.cli.demo import Plan, run
    from async_mongo_pool.config import Redactor
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in {"typer", "rich"}:
        raise
    sys.stderr.write('async-mongo-pool needs its cli extra: pip install "async_mongo_pool[cli]"\n')
    raise SystemExit(2) from None
except KeyboardInterrupt:
    # The imports take long enough to be interrupted.
    raise SystemExit(130) from None

__all__ = ["main"]


class _Discreet(typer.core.TyperGroup):
    """Quotes no password of a connection string that stands where none belongs."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            # Usage errors; where their class is differs between versions of typer.
            if isinstance(message := getattr(error, "message", None), str):
                vars(error)["message"] = Redactor().scrub(message)
            raise


application = typer.Typer(
    cls=_Discreet,
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


class AnyBackend(enum.StrEnum):
    """The same, and the twin's."""

    motor = "motor"
    pymongo = "pymongo"
    sync = "sync"


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


@application.command()
def top(
    uri: Annotated[
        str | None,
        typer.Option(show_default=False, help="The server to look at. Default: MONGODB_URI of the environment."),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Start a MongoDB (extra: embedded) and put a load on the pool.")
    ] = False,
    backend: Annotated[
        AnyBackend, typer.Option(help="Whose client: Motor's, AsyncMongoClient, or MongoClient (sync).")
    ] = AnyBackend.motor,
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two pictures.")] = 1,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds for everything. Default: until Ctrl-C.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show one picture and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write what get_pool_stats returns, one JSON object in each line.")
    ] = False,
) -> None:
    """Watch a pool live: connections, waits, holders, and the server's count.

    With --uri it opens a small pool of its own (at most 5 connections), sends
    it a ping and a serverStatus at each refresh, and shows THIS pool and what
    the server counts over all of its clients. The pools of other processes
    cannot be seen from here: for those there are get_pool_stats() and the
    exporters.

    Percentiles are those of the last interval, within the bucket they fall
    into. Piped, each picture is plain text. Ends with 0, also after Ctrl-C;
    with 1 when no server can be reached.
    """
    if demo and uri:
        raise typer.BadParameter("--demo starts a server of its own: give --uri or --demo, not both")
    address = None if demo else uri or os.environ.get("MONGODB_URI")
    if not (address or demo):
        raise typer.BadParameter("name a server with --uri or MONGODB_URI, or start one with --demo")
    raise typer.Exit(live.run(live.Watch(address, backend.value, interval, duration, once, as_json)))


def main() -> None:
    """Run the command line."""
    application()


if __name__ == "__main__":
    main()
