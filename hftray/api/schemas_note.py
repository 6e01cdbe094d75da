"""A day's contract note, as the API shows it."""

from dataclasses import asdict
from datetime import date
from typing import Annotated, Self

from fastapi import Query
from pydantic import Field

from hftray.api.schemas import IstTime, Money, View
from hftray.api.schemas_market import HistoryDate
from hftray.core.charges import Charges
from hftray.core.contract_note import ContractNote, NoteLeg
from hftray.core.orders import Leg, Side

NoteDate = Annotated[
    HistoryDate | None,
    Query(alias="date", description="Trading day; the run's newest unless given"),
]


class ChargesView(View):
    """Every charge by name, in rupees."""

    brokerage: Money
    stt: Money = Field(description="Securities transaction tax")
    exchange: Money = Field(description="Exchange transaction charge")
    sebi: Money = Field(description="SEBI turnover fee")
    stamp: Money = Field(description="Stamp duty")
    ipft: Money = Field(description="Investor protection fund")
    gst: Money
    total: Money

    @classmethod
    def of(cls, charges: Charges) -> Self:
        """The view of charges."""
        return cls.model_validate(charges.parts() | {"total": charges.total})


class NoteLegView(View):
    """One executed order of the day."""

    reference: str
    timestamp: IstTime
    symbol: str
    exchange: str
    side: Side
    leg: Leg
    quantity: int
    price: Money
    value: Money
    charges: ChargesView = Field(description="Of this order by itself, each to the paisa")
    booked: Money = Field(description="The charges on the ledger's rows, confirmations included")
    net: Money = Field(description="Received, or paid when negative")

    @classmethod
    def of(cls, leg: NoteLeg) -> Self:
        """The view of a leg."""
        names = {name: getattr(leg, name) for name in ("value", "booked", "net")}
        charges = {"price": leg.price, "charges": ChargesView.of(leg.charges)}
        return cls.model_validate(asdict(leg.trade) | names | charges)


class NoteView(View):
    """The day's legs, gross, charges and net. All the lines add up: see each one's description."""

    run_id: int
    date: date
    legs: list[NoteLegView]
    bought: Money
    sold: Money
    gross: Money = Field(description="sold - bought")
    charges: ChargesView = Field(description="As the note rounds them: leg_charges + rounding")
    leg_charges: ChargesView = Field(description="The legs' own charges, added up")
    rounding: ChargesView = Field(description="What the note's rounding adds or takes off")
    ledger_charges: Money = Field(description="What the ledger booked for these orders")
    drift: Money = Field(
        description="leg_charges - ledger_charges: 0 unless the table of charges was changed"
    )
    net: Money = Field(description="gross - charges: received, or paid when negative")
    unmatched: dict[str, int] = Field(
        description="Shares bought less shares sold, where they differ; charged as intraday"
    )

    @classmethod
    def of(cls, run_id: int, note: ContractNote) -> Self:
        """The view of a run's note."""
        names = ("bought", "sold", "gross", "drift", "net", "unmatched")
        return cls(
            run_id=run_id,
            date=note.day,
            legs=[NoteLegView.of(leg) for leg in note.legs],
            charges=ChargesView.of(note.levied),
            leg_charges=ChargesView.of(note.leg_charges),
            rounding=ChargesView.of(note.rounding),
            ledger_charges=note.booked,
            **{name: getattr(note, name) for name in names},
        )
