"""Settings of the API."""

import subprocess
import sys

import msgspec
import pytest

from api.config import ApiConfig, is_loopback
from api.errors import UnsafeBindError


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback_needs_no_permission(host):
    assert is_loopback(host)
    assert ApiConfig(host=host).host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "10.0.0.7", "tailwatch.example", "::ffff:10.0.0.7", "", "127.1.example"]
)
def test_other_addresses_ask_for_keys_and_are_refused_without_until_allowed(host):
    assert ApiConfig(host=host).asks_for_keys
    with pytest.raises(UnsafeBindError, match=r"api\.auth: auto.*allow_unauthenticated"):
        ApiConfig(host=host, auth="off")
    for auth in ("auto", "off"):
        assert not ApiConfig(host=host, auth=auth, allow_unauthenticated=True).asks_for_keys
    assert ApiConfig(host=host, auth="on", allow_unauthenticated=True).asks_for_keys


def test_loopback_asks_for_keys_only_when_told_to():
    assert [ApiConfig(auth=auth).asks_for_keys for auth in ("auto", "off", "on")] == [False, False, True]


def test_a_file_with_an_open_address_is_refused_while_decoding():
    with pytest.raises(msgspec.ValidationError, match=r"set api\.allow_unauthenticated: true"):
        msgspec.convert({"host": "0.0.0.0", "auth": "off"}, ApiConfig)


def test_replacing_the_host_by_a_flag_is_checked_too():
    with pytest.raises(UnsafeBindError):
        msgspec.structs.replace(ApiConfig(auth="off"), host="0.0.0.0")


@pytest.mark.parametrize("given", ["tls_certificate_path", "tls_key_path"])
def test_half_a_tls_is_refused(given):
    with pytest.raises(msgspec.ValidationError, match="belong together; one of them is missing"):
        msgspec.convert({given: "x.pem"}, ApiConfig)


@pytest.mark.parametrize(
    "wrong",
    [{"prot": 1}, {"port": 70_000}, {"port": "8080x"}, {"max_steps": 0}, {"agent_silent_after_s": 0}, {"auth": "yes"}],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, ApiConfig)


def test_reading_the_settings_loads_no_web_framework_and_no_sql():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, api.config, api.errors; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert not {"fastapi", "uvicorn", "pydantic", "sqlalchemy", "numpy"} & set(loaded)
