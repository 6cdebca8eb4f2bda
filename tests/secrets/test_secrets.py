"""The short form of ``make secrets``, what it stands on, and the leaks that it has found."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from async_mongo_pool.config import PoolConfig, Redactor, resolve
from async_mongo_pool.config.guard import guarded
from async_mongo_pool.diagnosis import explain_failure, for_log
from async_mongo_pool.errors import PoolConfigurationError
from tests.cli.command import run as command

from .material import Credentials
from .record import Record
from .run import run
from .sentinel import ENCODINGS, Sentinel, encoded, found

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "Zqgeheim42"


@pytest.mark.core
async def test_no_secret_shows_anywhere_without_a_server() -> None:
    seed = str(random.randrange(10**9))
    findings = await run(250, 0, seed)
    assert findings.kinds.total() == 250
    assert not findings.leaks, findings.table()


async def test_no_secret_shows_anywhere_with_servers() -> None:
    seed = str(random.randrange(10**9))
    findings = await run(0, 8, seed)
    assert findings.kinds.total() == 8
    assert not findings.leaks, findings.table()


@pytest.mark.core
def test_a_part_of_a_secret_is_found_in_every_encoding() -> None:
    draw = random.Random(1)
    sentinel = Sentinel(draw)
    for shown in [encoded(sentinel.text, encoding, draw) for encoding in ENCODINGS]:
        assert found([sentinel], f"before {shown} after")
    for shown in (*sentinel.words, *sentinel.coded, repr(sentinel.text), repr(sentinel.text.encode())):
        assert found([sentinel], f"before {shown} after")
    assert not found([sentinel, Sentinel(draw)], "before *** after Zq")


@pytest.mark.core
@pytest.mark.parametrize("outlet", ["text", "log", "extra", "locals", "cause", "note", "warning"])
def test_a_leak_into_any_outlet_is_seen(outlet: str) -> None:
    record = Record("test", random.Random(1))
    secret = record.secret()
    with record.listening():
        _leak(record, outlet, secret)
    assert record.leaks()


def _leak(record: Record, outlet: str, secret: str) -> None:
    error = ValueError("x")
    if outlet == "text":
        record.text("a text", f"-{secret}-")
    elif outlet == "log":
        logging.getLogger("somewhere").debug("%s", secret)
    elif outlet == "extra":
        logging.getLogger("somewhere").debug("x", extra={"held": secret})
    elif outlet == "cause":
        error.__cause__ = KeyError(secret)
        record.error(error)
    elif outlet == "note":
        error.add_note(secret)
        record.error(error)
    elif outlet == "warning":
        import warnings

        warnings.warn(secret, stacklevel=1)
    else:
        # A frame of ours that holds it: guarded is, and keeps what it is given to call.
        with pytest.raises(ZeroDivisionError) as caught:
            guarded(Credentials(secret, lambda: 1 // 0))
        record.error(caught.value)


# What the long form has found, each as a test of its own.


@pytest.mark.core
@pytest.mark.parametrize(
    "given", [{"password": SECRET.encode()}, {"mongo_uri": f"mongodb://u:{SECRET}@h".encode()}]
)
def test_bytes_in_place_of_text_are_as_secret(given: dict[str, Any]) -> None:
    config = PoolConfig(**given)
    shown = f"{config!r} {vars(config)} {dataclasses.asdict(config)} {pickle.dumps(config)!r}"
    assert SECRET not in shown


@pytest.mark.core
def test_a_misspelt_password_is_as_secret() -> None:
    config = PoolConfig(mongo_uri="mongodb://h", options={"pasword": SECRET})
    assert SECRET not in f"{config!r} {vars(config)} {config.options} {pickle.dumps(config)!r}"
    with pytest.raises(PoolConfigurationError, match=r"Unknown option pasword.*password"):
        config.explain({})


@pytest.mark.core
@pytest.mark.parametrize("called", [Credentials(SECRET, dict), partial(print, SECRET)])
def test_what_is_called_is_shown_by_its_name(called: Callable[..., Any]) -> None:
    settings = resolve("mongodb://h", {"on_replace": called, "server_selector": called}, environ={})
    config = PoolConfig(mongo_uri="mongodb://h", on_replace=called, options={"server_selector": called})
    shown = f"{settings.explain()} {settings.pool_options} {settings.client_options} {config!r} {config.options}"
    assert SECRET not in shown
    assert type(called).__qualname__ in shown


@pytest.mark.core
def test_mechanism_properties_are_handed_out_masked() -> None:
    options = {"authMechanismProperties": {"AWS_SESSION_TOKEN": SECRET}, "authMechanism": "MONGODB-AWS"}
    settings = resolve("mongodb://h", options, environ={})
    assert repr(settings.value("authMechanismProperties")) == "***"
    assert settings.value("authMechanismProperties").reveal() == {"AWS_SESSION_TOKEN": SECRET}


@pytest.mark.core
def test_bytes_that_are_not_ascii_are_scrubbed() -> None:
    redactor = Redactor([f"{SECRET}€ü"])
    assert redactor.scrub_value(f"a {SECRET}€ü b".encode()) == b"a *** b"
    assert redactor.scrub_value(b"\xff" + f"{SECRET}€ü".encode()) == b"\xff***"


@pytest.mark.core
@pytest.mark.parametrize("user", [SECRET, f"a{SECRET}"])
def test_a_user_name_that_tells_the_password_is_not_pickled(user: str) -> None:
    pickled = pickle.dumps(PoolConfig(mongo_uri=f"mongodb://{user}:{SECRET}@h"))
    assert SECRET.encode() not in pickled
    with pytest.raises(PoolConfigurationError, match="MONGODB_URI"):
        pickle.loads(pickled).explain({})  # noqa: S301 (just written)


@pytest.mark.core
def test_the_environment_given_to_explain_is_in_no_frame() -> None:
    with pytest.raises(PoolConfigurationError) as caught:
        PoolConfig().explain({"MONGODB_URI": f"mongodb://u:{SECRET}@h/?maxPolSize=1"})
    record = Record("test", random.Random(1))
    record.secrets = [_sentinel()]
    record.error(caught.value)
    assert not record.leaks()


def _sentinel() -> Sentinel:
    made = Sentinel(random.Random(1))
    made.text, made.words = SECRET, (SECRET,)
    return made


@pytest.mark.core
def test_an_error_of_another_kind_leaves_no_frame_that_holds_anything() -> None:
    def inner(held: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        guarded(lambda: inner(SECRET))
    frame = caught.traceback[-1].frame
    assert frame.code.name == "inner"
    assert not frame.f_locals


@pytest.mark.core
@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"no mongodb://u:{SECRET}@h:1/db", "no mongodb://u:***@h:1/db"),
        (f"'mongodb+srv://u:{SECRET}/@x@h'", "'mongodb+srv://u:***@h'"),
        (
            f"mongodb://h/?tlsCertificateKeyFilePassword={SECRET}&w=1",
            "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1",
        ),
        (
            f"mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:{SECRET}",
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:***",
        ),
        ("mongodb://h:27017/db at https://u:1", "mongodb://h:27017/db at https://u:1"),
    ],
)
def test_an_address_that_nobody_knows_loses_its_credentials(text: str, clean: str) -> None:
    assert Redactor().scrub(text) == clean
    told = explain_failure("Pool", ValueError(text), None)
    assert (type(told), str(told)) == (ValueError, clean)


@pytest.mark.core
@pytest.mark.parametrize("secret", [f"a@h {SECRET}", f"://u:p@h{SECRET}\nx", f"x mongodb://u:p@h/{SECRET}"])
def test_a_secret_that_looks_like_an_address_is_masked_as_a_whole(secret: str) -> None:
    settings = resolve("mongodb://h", {"username": "u", "password": secret}, environ={})
    others = [resolve("mongodb://h", {"username": "u", "password": f"other {secret}"}, environ={})]
    text = f"no mongodb://u:{secret}@h/ and other {secret}!"
    assert settings.redactor.scrub(text) == "no mongodb://u:***@h/ and other ***!"
    for told in (
        explain_failure("Pool", ValueError(text), settings, 0.0, others),
        explain_failure("Pool", ValueError(text), None, 0.0, [*others, settings]),
        for_log(ValueError(text), *others, settings),
    ):
        assert str(told).endswith("no mongodb://u:***@h/ and ***!")


@pytest.mark.core
def test_an_error_of_a_callable_without_an_address_is_the_users_own() -> None:
    error = KeyError("vault")
    assert explain_failure("Pool", error, None) is error


@pytest.mark.core
def test_an_error_of_a_callable_loses_the_secrets_of_what_is_open() -> None:
    settings = resolve(f"mongodb://u:{SECRET}@h", environ={})
    told = explain_failure("Pool", ValueError(f"the vault said {SECRET}"), None, 0.0, [settings])
    assert str(told) == "the vault said ***"


@pytest.mark.core
def test_an_error_for_the_log_keeps_its_place_and_nothing_else() -> None:
    settings = resolve(f"mongodb://u:{SECRET}@h", environ={})

    def hook(held: str) -> None:
        raise ValueError(f"no {held}")

    try:
        hook(SECRET)
    except ValueError as error:
        told = for_log(error, settings)
    assert str(told) == "no ***"
    record = Record("test", random.Random(1))
    record.secrets = [_sentinel()]
    place = told.__traceback__
    assert place is not None
    assert place.tb_next is not None
    assert place.tb_next.tb_frame.f_code.co_name == "hook"
    assert not place.tb_next.tb_frame.f_locals


@pytest.mark.core
def test_equal_credentials_have_equal_digests_that_cannot_be_tried_out() -> None:
    import hashlib

    one, two = (resolve(f"mongodb://u:{SECRET}@h", environ={}) for _ in range(2))
    assert one == two
    parts = (f"+1:u\0+{len(SECRET)}:{SECRET}").encode()
    for guess in (hashlib.sha256(parts), hashlib.blake2b(parts)):
        assert guess.hexdigest() not in repr(one.key)


@pytest.mark.parametrize("arguments", [("top", "{}"), ("{}",), ("demo", "{}")])
def test_the_command_line_quotes_no_password_in_a_wrong_place(arguments: tuple[str, ...]) -> None:
    done = command(*(each.format(f"mongodb://u:{SECRET}@h/") for each in arguments))
    assert done.returncode == 2
    assert SECRET not in done.stdout + done.stderr
    assert "mongodb://u:***@h/" in done.stderr
