import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuberouted.service_claim import (
    ServiceClaim,
    ServicePhase,
    routing_key,
    routing_reason,
)

HOLDING, STANDBY = ServicePhase.HOLDING, ServicePhase.STANDBY
PARTIES = st.tuples(
    st.builds(
        ServiceClaim,
        st.sampled_from(ServicePhase),
        st.integers(1, 2),
        st.integers(0, 2),
        st.booleans(),
    ),
    st.sampled_from(["vpnsrvA", "vpnsrvB"]),
    st.booleans(),
)


@given(PARTIES, PARTIES)
def test_each_order_has_a_reason_and_no_other_order_has(one, other):
    keys = [routing_key(party[0], party[1], is_local=party[2]) for party in (one, other)]
    local = {"best_is_local": one[2], "other_is_local": other[2]}
    if keys[0] < keys[1]:
        assert routing_reason(*one[:2], *other[:2], **local)
    else:
        with pytest.raises(ValueError, match="does not come before"):
            routing_reason(*one[:2], *other[:2], **local)


def test_reasons_of_the_routing():
    near = ServiceClaim(HOLDING, 100, 7, nearest=True)
    far = ServiceClaim(HOLDING, 200, 6, nearest=True)
    without = ServiceClaim(STANDBY, 300)

    def reason(best, other, local=False):
        return routing_reason(
            best, "vpnsrvB", other, "vpnsrvC", best_is_local=local, other_is_local=False
        )

    assert reason(near, far, local=True) == "placement = nearest: vpnsrvB is this node"
    assert reason(far, near) == "its priority 100 is below the 200 of vpnsrvB"
    assert reason(near, without) == "it is on standby"
