"""The open policy: everybody may do everything, and peers of this machine at any rate."""

from gateway.core.policy import OpenPolicy


def test_everybody_may_take_everything_and_order() -> None:
    for is_loopback in (True, False):
        rights = OpenPolicy(100, 7).rights_of("192.0.2.1", is_loopback)
        assert rights.may_order
        assert rights.may_take("anything*")
        assert rights.max_topics == 7


def test_only_remote_peers_are_limited_and_a_rate_of_0_is_none() -> None:
    assert OpenPolicy(100, 7).rights_of("192.0.2.1", False).messages_per_s == 100
    assert OpenPolicy(100, 7).rights_of("127.0.0.1", True).messages_per_s is None
    assert OpenPolicy(0, 7).rights_of("192.0.2.1", False).messages_per_s is None


def test_rights_are_shared_so_that_a_session_costs_no_memory_for_them() -> None:
    policy = OpenPolicy(100, 7)
    assert policy.rights_of("192.0.2.1", False) is policy.rights_of("192.0.2.2", False)
