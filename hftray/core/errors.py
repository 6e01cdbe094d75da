"""Every exception hftray raises, grouped by what the caller should do.

HftrayError
├── StopError           the operator must change something; do not retry
│   ├── ConfigError     a key, file or flag is wrong
│   ├── DataError       market data cannot be used (file, line, reason)
│   └── SchemaError     the database holds a schema this build does not know
├── RetryError          nothing happened; the same call may succeed later
│   ├── BrokerUnavailable
│   └── LedgerUnavailable
├── RejectError         this request is refused and will be refused again
│   ├── OrderRejected
│   │   └── NotHeld     of an exit: the broker does not hold the shares
│   ├── StaleEpoch      an older incarnation of an actor is asking
│   │   └── NotRegistered   risk was restarted and knows none: register again
│   ├── NotFound
│   ├── Conflict        a name or id is taken
│   └── IllegalTransition
└── UnknownOutcome      the request may have happened: look it up, never resend
"""


class HftrayError(Exception):
    """Base of all errors raised on purpose."""


class StopError(HftrayError):
    """The operator must change something before this can work."""


class ConfigError(StopError):
    """A setting is missing, unknown or out of range; the message names the key."""


class DataError(StopError):
    """Market data is unusable; the message names file, line and reason."""


class SchemaError(StopError):
    """The database schema is newer than, or foreign to, this build."""


class RetryError(HftrayError):
    """Nothing happened; the same call may succeed later."""


class BrokerUnavailable(RetryError):
    """The broker could not be reached, and the request was certainly not taken."""


class LedgerUnavailable(RetryError):
    """The database could not be reached."""


class RejectError(HftrayError):
    """The request is refused; repeating it changes nothing."""


class OrderRejected(RejectError):
    """The broker or exchange refused the order."""


class NotHeld(OrderRejected):
    """The broker does not hold the shares that an exit would leave; it was not sent."""


class StaleEpoch(RejectError):
    """A superseded incarnation of an actor tried to act."""


class NotRegistered(StaleEpoch):
    """Risk was restarted and knows no incarnation of the symbol yet: register, then ask again."""


class NotFound(RejectError):
    """A symbol, strategy or id does not exist."""


class Conflict(RejectError):
    """The name or id is taken."""


class IllegalTransition(RejectError):
    """A position or order was asked to make a step its life does not have."""


class UnknownOutcome(HftrayError):
    """The request may or may not have taken effect; look it up by its reference."""
