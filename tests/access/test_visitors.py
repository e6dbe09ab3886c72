from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.access.visitors import limit_group, visitor_address

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("headers", "hops", "address"),
    [
        ([b"203.0.113.7"], 1, "203.0.113.7"),
        ([b"203.0.113.7"], 0, PROXY),
        ([b"203.0.113.7"], -1, PROXY),
        ([], 1, PROXY),
        ([b""], 1, PROXY),
        ([b"6.6.6.6, 203.0.113.7"], 1, "203.0.113.7"),
        ([b"6.6.6.6, 203.0.113.7, 10.0.0.2"], 2, "203.0.113.7"),
        ([b"6.6.6.6", b"203.0.113.7", b"10.0.0.2"], 2, "203.0.113.7"),
        ([b"203.0.113.7"], 2, PROXY),  # it did not come through both: whoever wrote the one entry is unknown
        ([b"203.0.113.7, 10.0.0.2"], 3, PROXY),
        ([b"6.6.6.6,unknown"], 1, PROXY),
        ([b"6.6.6.6,"], 1, PROXY),
        ([b"6.6.6.6, _hidden"], 1, PROXY),
        ([b"203.0.113.7:51234"], 1, "203.0.113.7"),
        ([b"203.0.113.7:99999"], 1, PROXY),
        ([b"203.0.113.7:"], 1, PROXY),
        ([b"2001:DB8::0001"], 1, "2001:db8::1"),
        ([b"[2001:db8::1]"], 1, "2001:db8::1"),
        ([b"[2001:db8::1]:443"], 1, "2001:db8::1"),
        ([b"[2001:db8::1]443"], 1, PROXY),
        ([b"[2001:db8::1"], 1, PROXY),
        ([b"fe80::1%eth0"], 1, "fe80::1"),
        ([b"::ffff:203.0.113.7"], 1, "203.0.113.7"),
        ([b"[::ffff:203.0.113.7]:80"], 1, "203.0.113.7"),
        ([b"203.0.113.07"], 1, PROXY),
        ([b"\xff\xfe"], 1, PROXY),
        ([b"  203.0.113.7\t"], 1, "203.0.113.7"),
    ],
)
def test_address_is_the_one_that_the_outermost_trusted_proxy_saw(headers: list[bytes], hops: int, address: str) -> None:
    assert visitor_address(PROXY, headers, hops) == address


@pytest.mark.parametrize(
    ("remote", "address"),
    [("::ffff:127.0.0.1", "127.0.0.1"), ("2001:DB8::1", "2001:db8::1"), ("", ""), ("testclient", "testclient")],
)
def test_address_of_the_connection_is_told_in_one_form_or_as_it_is(remote: str, address: str) -> None:
    assert visitor_address(remote, [b"6.6.6.6"], 0) == address


ADDRESSES = st.ip_addresses()
FORGED = st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=6)


@given(FORGED, st.lists(ADDRESSES, min_size=1, max_size=5))
def test_whatever_a_visitor_sends_changes_nothing(
    forged: list[bytes], seen: list[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> None:
    # The visitor, and each proxy but the last, as the next proxy saw it.
    appended = [str(address).encode() for address in seen]
    honest = visitor_address(PROXY, appended, len(seen))
    assert visitor_address(PROXY, [*forged, *appended], len(seen)) == honest
    assert visitor_address(PROXY, [b",".join([*forged, *appended])], len(seen)) == honest
    assert limit_group(honest) == limit_group(str(seen[0]))


@given(st.text(max_size=20), st.lists(st.binary(max_size=60), max_size=5), st.integers(-1, 6))
def test_any_header_gives_an_address_or_the_connection(remote: str, headers: list[bytes], hops: int) -> None:
    found = visitor_address(remote, headers, hops)
    if found != remote:
        assert str(ipaddress.ip_address(found)) == found


def test_header_of_any_length_is_read_from_its_end() -> None:
    assert visitor_address(PROXY, [b"6.6.6.6," * 100_000 + b"203.0.113.7"], 1) == "203.0.113.7"


@given(st.ip_addresses(v=4))
def test_ipv4_addresses_are_each_their_own_group_however_written(address: ipaddress.IPv4Address) -> None:
    assert limit_group(str(address)) == str(address) == limit_group(f"::ffff:{address}")


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_ipv6_addresses_of_one_network_share_a_group_and_others_do_not(
    address: ipaddress.IPv6Address, host: int, elsewhere: int
) -> None:
    network = int(address) >> 64 << 64
    if network == 0:  # there the forms of IPv4 live
        return
    group = limit_group(str(address))
    assert limit_group(str(ipaddress.IPv6Address(network | host))) == group
    other = ipaddress.IPv6Address(network ^ elsewhere << 64)
    assert limit_group(str(other)) != group


@pytest.mark.parametrize(
    ("address", "group"), [("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("", ""), ("somebody", "somebody")]
)
def test_group_is_told_as_a_network(address: str, group: str) -> None:
    assert limit_group(address) == group
