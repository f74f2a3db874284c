from __future__ import annotations

from asyncflow.pacing import Pacer, Permit, Priority, prepaid


def test_nothing_is_prepaid_by_itself() -> None:
    assert prepaid.get() is None


def test_a_prepayment_is_taken_over_once_and_by_its_own_budget() -> None:
    pacer, other = Pacer(), Pacer()
    payment = Permit(pacer, Priority.EXPECTED)
    assert not payment.redeem(other)
    assert payment.redeem(pacer)
    assert not payment.redeem(pacer)
    assert payment.priority is Priority.EXPECTED
