from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from async_mongo_pool.testing import Certificates, Mongod, User

if TYPE_CHECKING:
    from collections.abc import Iterator

Client = MongoClient[dict[str, Any]]

CLERK = User("clerk@shop", "p@ss/wo:rd", ("readWrite",), "shop")
CERTIFICATES = Certificates()
HOLDER = User(CERTIFICATES.client_subject, None, database="$external")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Mongod]:
    with Mongod(auth=True, users=[CLERK, HOLDER], tls=CERTIFICATES) as mongod:
        yield mongod


@pytest.fixture(scope="module")
def locked() -> Iterator[Mongod]:
    with Mongod(auth=True, users=[CLERK]) as mongod:
        yield mongod


def test_root_may_do_everything(locked: Mongod) -> None:
    assert locked.connection_count() > 0
    with Client(locked.uri) as client:
        assert "admin" in client.list_database_names()


def test_a_user_may_do_what_its_roles_say(locked: Mongod) -> None:
    with Client(locked.uri_for(CLERK)) as client:
        client.shop.orders.insert_one({})
        with pytest.raises(OperationFailure, match="not authorized"):
            client.bank.accounts.insert_one({})


def test_nobody_may_do_nothing(locked: Mongod) -> None:
    refusal = pytest.raises(OperationFailure, match="requires authentication")
    with Client(locked.uri_for(None)) as client, refusal:
        client.shop.orders.find_one()


def test_a_wrong_password_is_refused(locked: Mongod) -> None:
    refusal = pytest.raises(OperationFailure, match="Authentication failed")
    with Client(locked.uri_for(replace(CLERK, password="wrong"))) as client, refusal:
        client.shop.orders.find_one()


def test_passwords_are_not_in_what_is_shown(locked: Mongod) -> None:
    assert locked.root is not None
    assert locked.root.password is not None
    for shown in (repr(locked), repr(locked.root), repr(CLERK)):
        assert locked.root.password not in shown
        assert "p@ss/wo:rd" not in shown


def test_without_tls_nothing_is_answered(guarded: Mongod) -> None:
    plain = f"mongodb://{guarded.host}:{guarded.port}/"
    refusal = pytest.raises(ServerSelectionTimeoutError)
    with Client(plain, serverSelectionTimeoutMS=500) as client, refusal:
        client.admin.command("ping")


def test_a_certificate_of_another_authority_is_not_believed(guarded: Mongod) -> None:
    plain = f"mongodb://{guarded.host}:{guarded.port}/"
    refusal = pytest.raises(ServerSelectionTimeoutError, match="CERTIFICATE_VERIFY_FAILED")
    with Client(plain, tls=True, serverSelectionTimeoutMS=500) as client, refusal:
        client.admin.command("ping")


def test_verified_tls_works_by_name_and_by_address(guarded: Mongod) -> None:
    for host in ("127.0.0.1", "localhost"):
        with Client(guarded.uri.replace("127.0.0.1", host)) as client:
            assert client.admin.command("ping")["ok"] == 1


def test_a_client_certificate_is_enough_to_get_in(guarded: Mongod) -> None:
    with Client(guarded.uri_for(HOLDER)) as client:
        client.shop.orders.insert_one({})
        status = client.admin.command("connectionStatus")
    assert status["authInfo"]["authenticatedUsers"] == [{"user": HOLDER.username, "db": "$external"}]


def test_a_client_certificate_can_be_required() -> None:
    with Mongod(tls=CERTIFICATES, client_certificate_required=True) as mongod:
        assert mongod.connection_count() > 0
        assert mongod.tls_files is not None
        without = f"mongodb://127.0.0.1:{mongod.port}/?tls=true&tlsCAFile={mongod.tls_files.ca_file}"
        refusal = pytest.raises(ServerSelectionTimeoutError)
        with Client(without, serverSelectionTimeoutMS=500) as client, refusal:
            client.admin.command("ping")


def test_users_without_authentication_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="auth=True"):
        Mongod(users=[CLERK])
