"""The tools of the demo's agent: a shop without a database."""

from typing import Any, Final

_ORDERS: Final = {"A-1042": {"item": "teapot", "state": "delivered", "paid": 24.9}}


def lookup_order(order_id: str) -> dict[str, Any]:
    """Look up an order by its number.

    Args:
        order_id: The number of the order.

    """
    return _ORDERS.get(order_id, {"state": "unknown"})


def refund(order_id: str, amount: float) -> dict[str, Any]:
    """Pay the price of an order back.

    Args:
        order_id: The number of the order.
        amount: How much to pay back, in euros.

    """
    return {"order": order_id, "refunded": amount}
