"""Groww's own SDK listens to the live feed named in the first argument (JSON).

Runs in a Python that need not have hftray. Only addresses of the SDK are changed, nothing else.
Prints one JSON line for every message: its meta and what the SDK's getter made of it. Ends when
its input is closed.
"""

import json
import sys

from growwapi import GrowwAPI, GrowwFeed

SETTINGS = json.loads(sys.argv[1])
GrowwAPI._GROWW_GENERATE_SOCKET_TOKEN_URL = SETTINGS["api"] + "/api/apex/v1/socket/token/create/"
GrowwFeed._GROWW_SOCKET_URL = SETTINGS["stream"]


class Groww(GrowwAPI):
    """The SDK with another base address, set before its first request."""

    def _display_changelog(self):
        self.domain = SETTINGS["api"]
        super()._display_changelog()


def show(kind, getter):
    return lambda meta: print(json.dumps([kind, meta, getter()]), flush=True)


feed = GrowwFeed(Groww(SETTINGS["token"]))
feed.subscribe_ltp(SETTINGS["instruments"], show("ltp", feed.get_ltp))
feed.subscribe_market_depth(SETTINGS["instruments"], show("depth", feed.get_market_depth))
feed.subscribe_equity_order_updates(show("order", feed.get_equity_order_update))
sys.stdin.read()
