"""What a registry may be at, and that no error shows the password of whoever wrote it wrong."""

import pytest

from skerry_host.plane.broker.connection import address
from skerry_host.plane.errors import AddressError, RegistryUrlError
from skerry_host.plane.registry.place import checked, shown

WRITTEN = (
    "postgresql://u:SE/CRET@127.0.0.1:1/db", "postgresql://u:SE@CRET@127.0.0.1:1/db", "mysql://u:SE/CRET@h/d",
    "postgresql://u:SE#CRET@h/db", "postgresql://u:SE:CRET@h/db", "postgresql://:SE@h/db", "u:SE@h/db",
    "postgresql:u:SE@h/db", "host=h password=SECRET dbname=d", "postgresql://h/db?user=u&password=SECRET",
    "postgresql://u@h/db?sslpassword=SECRET&x=1", "postgresql+psycopg://u:SE%40CRET@h/db",
)  # fmt: skip


@pytest.mark.parametrize("url", WRITTEN)
def test_a_password_is_never_shown(url):
    assert "SE" not in shown(url)
    assert "CRET" not in shown(url)


@pytest.mark.parametrize("url", ["postgresql://u:SE@CRET@h/db", "postgresql://u:SE/CRET@h/db", "u:SE@h/db"])
def test_a_password_that_breaks_the_url_is_refused_with_how_to_write_it(url):
    with pytest.raises(RegistryUrlError, match="%40 stands for @") as error:
        checked(url)
    assert "CRET" not in str(error.value)


@pytest.mark.parametrize("url", ["sqlite:///r.db", "sqlite://", "sqlite:///", "sqlite:////", "nonsense", ""])
def test_a_relative_path_is_no_registry(url):
    with pytest.raises(RegistryUrlError):
        checked(url)


def test_an_absolute_path_is_one():
    assert checked("sqlite:////srv/a:b@c/r.db") == "sqlite:////srv/a:b@c/r.db" == shown("sqlite:////srv/a:b@c/r.db")


@pytest.mark.parametrize(
    "url",
    ["mqtt://u:SE/CRET@h:1", "mqtt://u:SE#CRET@h:1", "xx://u:SECRET@h", "mqtt://u:SECRET@h:port", "u:SECRET@h"],
)
def test_a_broker_address_that_is_none_is_shown_without_its_password(url):
    with pytest.raises(AddressError) as error:
        address(url)
    assert "SE" not in error.value.message
    assert "CRET" not in error.value.message
