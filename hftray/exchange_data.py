"""What is known of the exchange without asking it: shares and hours, from config/."""

from functools import cache
from typing import TYPE_CHECKING

from hftray.layers import default_file, read_yaml

if TYPE_CHECKING:
    from hftray.adapters.calendar import SessionCalendar
    from hftray.adapters.instruments import Listings


@cache
def exchange_tables() -> tuple["Listings", "SessionCalendar"]:
    """Shares and hours, from config/; read once a process, for it takes a fifth of a second."""
    from hftray.adapters.calendar import SessionCalendar
    from hftray.adapters.instruments import Listings

    return (
        Listings.from_mapping(read_yaml(default_file("instruments.yaml"))),
        SessionCalendar.from_mapping(read_yaml(default_file("sessions.yaml"))),
    )
