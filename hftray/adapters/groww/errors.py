"""What Groww's answers mean to a caller, beyond `core.errors`."""

from hftray.core.errors import BrokerUnavailable, OrderRejected, StopError


class GrowwRefused(OrderRejected):
    """Groww examined the request and refused it: certainly not done.

    `code` is Groww's own ("GA001"; empty where it gave none), `status` the HTTP status.
    """

    def __init__(self, message: str, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class DuplicateReference(GrowwRefused):
    """The order reference was used before (GA007): look the order up by it."""


class AccessDenied(StopError):
    """Key, subscription or IP address is not allowed this; only the operator can change that."""


class UnreadableReply(BrokerUnavailable):
    """An answer to a question was not what the API documents; asking again may bring a sound one.

    Only for questions: an unreadable answer to an order is an `UnknownOutcome`.
    """
