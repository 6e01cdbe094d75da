"""Orders, trades, positions, margins and holdings as payloads."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from hftray.core.money import ZERO
from hftray.core.orders import Execution
from hftray.testing.groww.account import Account, Position
from hftray.testing.groww.market import Market
from hftray.testing.groww.wire import number, stamp
from hftray.testing.groww.wire_order import WireOrder

_OTHER_SEGMENTS = {
    "fno_margin_details": (
        "net_fno_margin_used", "span_margin_used", "exposure_margin_used",
        "future_balance_available", "option_buy_balance_available",
        "option_sell_balance_available",
    ),
    "commodity_margin_details": (
        "net_commodity_margin_used", "commodity_span_margin", "commodity_exposure_margin",
        "commodity_balance_available",
    ),
}  # fmt: skip


def status_row(entry: WireOrder, now: datetime, resting: str) -> dict[str, Any]:
    """What the two status calls say: no price, no trades."""
    return {
        "groww_order_id": entry.groww_order_id,
        "order_status": entry.seen_status(now, resting),
        "remark": entry.remark,
        "filled_quantity": sum(own.quantity for own in entry.seen(now)),
        "order_reference_id": entry.order.reference,
    }


def order_row(entry: WireOrder, now: datetime, resting: str) -> dict[str, Any]:
    """What the list and the detail call say of an order."""
    order, terms = entry.order, entry.terms
    filled = sum(own.quantity for own in entry.seen(now))
    return {
        **status_row(entry, now, resting),
        "trading_symbol": order.symbol,
        "quantity": terms.quantity,
        "price": number(terms.price) or 0.0,
        "trigger_price": number(terms.trigger) or 0.0,
        "remaining_quantity": terms.quantity - filled,
        "average_fill_price": number(entry.average(now)) or 0.0,
        "deliverable_quantity": 0,
        "amo_status": "NA",
        "validity": order.validity,
        "exchange": order.exchange,
        "order_type": terms.order_type,
        "transaction_type": str(order.side),
        "segment": order.segment,
        "product": order.product,
        "created_at": stamp(entry.created_at),
        "exchange_time": stamp(entry.acted_at),
        "trade_date": stamp(entry.created_at),
    }


def trade_row(entry: WireOrder, own: Execution, market: Market) -> dict[str, Any]:
    """One trade of an order; `groww_trade_id` is empty, so fills are told by exchange_trade_id."""
    order = entry.order
    return {
        "price": number(own.price),
        "isin": market.share(order.exchange, order.symbol).isin,
        "quantity": own.quantity,
        "groww_order_id": entry.groww_order_id,
        "groww_trade_id": "",
        "exchange_trade_id": own.trade_id,
        "exchange_order_id": f"1{entry.groww_order_id[3:]}",
        "trade_status": "EXECUTED",
        "trading_symbol": order.symbol,
        "remark": "",
        "exchange": order.exchange,
        "segment": order.segment,
        "product": order.product,
        "transaction_type": str(order.side),
        "created_at": stamp(own.time),
        "trade_date_time": stamp(own.time),
        "settlement_number": f"{own.time:%Y%j}",
    }


def position_row(position: Position, market: Market) -> dict[str, Any]:
    """One position of the day; nothing is carried forward from the day before."""
    return {
        "trading_symbol": position.symbol,
        "segment": "CASH",
        "exchange": position.exchange,
        "symbol_isin": market.share(position.exchange, position.symbol).isin,
        "product": position.product,
        "quantity": position.net,
        "net_price": _price(position.net_price),
        "credit_quantity": position.bought,
        "credit_price": _price(position.buy_price),
        "debit_quantity": position.sold,
        "debit_price": _price(position.sell_price),
        "carry_forward_credit_quantity": 0,
        "carry_forward_credit_price": 0.0,
        "carry_forward_debit_quantity": 0,
        "carry_forward_debit_price": 0.0,
        "net_carry_forward_quantity": 0,
        "net_carry_forward_price": 0.0,
        "realised_pnl": _price(position.realised),
    }


def holding_row(symbol: str, quantity: int, average: Decimal, market: Market) -> dict[str, Any]:
    """Shares in the demat account, all of them free to sell."""
    return {
        "isin": market.share("NSE", symbol).isin,
        "trading_symbol": symbol,
        "quantity": quantity,
        "average_price": number(average),
        "pledge_quantity": 0,
        "demat_locked_quantity": 0,
        "groww_locked_quantity": 0,
        "repledge_quantity": 0,
        "t1_quantity": 0,
        "demat_free_quantity": quantity,
        "corporate_action_additional_quantity": 0,
        "active_demat_transfer_quantity": 0,
    }


def margin_row(account: Account) -> dict[str, Any]:
    """The account's money by segment; only the equity segment is used."""
    mis, cnc = account.used("MIS"), account.used("CNC")
    available = account.available()
    return {
        "clear_cash": number(account.capital),
        "net_margin_used": number(mis + cnc),
        "brokerage_and_charges": 0.0,
        "collateral_used": 0.0,
        "collateral_available": 0.0,
        "adhoc_margin": 0.0,
        "equity_margin_details": {
            "net_equity_margin_used": number(mis + cnc),
            "cnc_margin_used": number(cnc),
            "mis_margin_used": number(mis),
            "cnc_balance_available": number(available),
            "mis_balance_available": number(available),
        },
        **{name: dict.fromkeys(keys, 0.0) for name, keys in _OTHER_SEGMENTS.items()},
    }


def order_margin_row(cnc: Decimal, mis: Decimal) -> dict[str, Any]:
    """What an order would bind."""
    return {
        "exposure_required": 0.0,
        "span_required": 0.0,
        "option_buy_premium": 0.0,
        "brokerage_and_charges": 0.0,
        "total_requirement": number(cnc + mis),
        "cash_cnc_margin_required": number(cnc),
        "cash_mis_margin_required": number(mis),
        "physical_delivery_margin_requirement": 0.0,
    }


def _price(amount: Decimal) -> float:
    return float(round(amount, 4)) if amount else float(ZERO)
