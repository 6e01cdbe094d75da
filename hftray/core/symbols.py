"""How shares are called: by name on NSE, with a prefix on BSE (`RELIANCE`, `BSE:RELIANCE`)."""

import difflib
from collections.abc import Collection, Sequence

NSE, BSE = "NSE", "BSE"
BSE_PREFIX = "BSE:"
MOST_NAMED = 60  # symbols in a message


def symbol_on(exchange: str, name: str) -> str:
    """The symbol of a share on an exchange."""
    return f"{BSE_PREFIX}{name}" if exchange == BSE else name


def exchange_of(symbol: str) -> str:
    """NSE or BSE."""
    return BSE if symbol.startswith(BSE_PREFIX) else NSE


def share_name(symbol: str) -> str:
    """The name of the share, the same on both exchanges."""
    return symbol.removeprefix(BSE_PREFIX)


def alternatives(missing: Sequence[str], known: Collection[str]) -> str:
    """What to tell somebody who named symbols that are not known: all there are, or the nearest."""
    names = sorted(symbol for symbol in known if exchange_of(symbol) == NSE)
    if 2 * len(names) == len(known) and all(symbol_on(BSE, name) in known for name in names):
        names.append(f"and each of them on BSE as {BSE_PREFIX}NAME")
    else:
        names = sorted(known)
    if len(names) <= MOST_NAMED:
        return f"known are {', '.join(names)}"
    close = {near for symbol in missing for near in difflib.get_close_matches(symbol, known, 3)}
    return f"perhaps {', '.join(sorted(close))}" if close else "nothing has a similar name"
