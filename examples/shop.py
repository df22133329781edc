"""A small shop: POST /tools/lookup_order {"orderId": …} answers the order's status.

    python examples/shop.py [port]

Loopback only, port 8322 where none is given. Each lookup is printed.
"""

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 8322
ORDERS = {
    "ORD-12345": "shipped",
    "ORD-20417": "processing",
    "ORD-31877": "delivered",
    "ORD-40002": "cancelled",
    "ORD-55310": "delayed",
    "ORD-66001": "waiting for payment",
}
ORDER_ID = re.compile(r"ORD-\d{5}")
LARGEST_BODY = 10_000


class Shop(BaseHTTPRequestHandler):
    """The shop's only page."""

    def do_POST(self) -> None:
        if self.path != "/tools/lookup_order":
            self.answer(404, {"error": "there is only /tools/lookup_order"})
            return
        order_id = self.order_id()
        if order_id is None:
            self.answer(400, {"error": "send {orderId: ORD-12345}"})
            return
        status = ORDERS.get(order_id, "not found")
        print(f"looked up {order_id}: {status}", flush=True)
        self.answer(200, {"orderId": order_id, "status": status})

    def order_id(self) -> str | None:
        length = min(int(self.headers.get("Content-Length", 0)), LARGEST_BODY)
        try:
            found = json.loads(self.rfile.read(length))["orderId"]
        except (ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, str) and ORDER_ID.fullmatch(found) else None

    def answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Lookups are printed, requests are not."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(
        ("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else PORT), Shop
    )
    print(f"the shop listens on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
