"""Binance error answers: the code table with the venue's texts, and how an answer is written."""

from __future__ import annotations

import json

from tools.venuesim.wire import Response

# Codes are stable, texts are not, yet clients match on both: they are the venue's own (error page, live captures).
TEXTS: dict[int, str] = {
    -1000: "An unknown error occurred while processing the request.",
    -1001: "Internal error; unable to process your request. Please try again.",
    -1003: "Too many requests; current limit is {} requests per minute. "
    "Please use the websocket for live updates to avoid polling the API.",
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Request throttled by system-level protection. "
    "Reduce-only/close-position orders are exempt. Please try again.",
    -1015: "Too many new orders; current limit is {} orders per {}.",
    -1016: "This service is no longer available.",
    -1021: "Timestamp for this request is outside of the recvWindow.",
    -1022: "Signature for this request is not valid.",
    -1100: "Illegal characters found in parameter '{}'.",
    -1102: "Mandatory parameter '{}' was not sent, was empty/null, or malformed.",
    -1106: "Parameter '{}' sent when not required.",
    -1111: "Precision is over the maximum defined for this asset.",
    -1115: "Invalid timeInForce.",
    -1116: "Invalid orderType.",
    -1117: "Invalid side.",
    -1120: "Invalid interval.",
    -1121: "Invalid symbol.",
    -1125: "This listenKey does not exist.",
    -1127: "More than {} hours between startTime and endTime.",
    -1130: "Data sent for parameter '{}' is not valid.",
    -2010: "New order rejected.",
    -2011: "Unknown order sent.",
    -2013: "Order does not exist.",
    -2014: "API-key format invalid.",
    -2015: "Invalid API-key, IP, or permissions for action.",
    -2019: "Margin is insufficient.",
    -2020: "Unable to fill.",
    -2021: "Order would immediately trigger.",
    -2022: "ReduceOnly Order is rejected.",
    -2023: "User in liquidation mode now.",
    -2025: "Reach max open order limit.",
    -2027: "Exceeded the maximum allowable position at current leverage.",
    -2028: "Leverage is smaller than permitted: insufficient margin balance.",
    -4001: "Price less than 0.",
    -4002: "Price greater than max price.",
    -4003: "Quantity less than or equal to zero.",
    -4004: "Quantity less than min quantity.",
    -4005: "Quantity greater than max quantity.",
    -4006: "Stop price less than zero.",
    -4007: "Stop price greater than max price.",
    -4013: "Price less than min price.",
    -4014: "Price not increased by tick size.",
    -4015: "Client order id is not valid.",
    -4016: "Limit price can't be higher than {}.",
    -4021: "{} is not valid depth limit",
    -4023: "Qty not increased by step size.",
    -4024: "Limit price can't be lower than {}.",
    -4025: "Invalid quantity.",
    -4028: "Leverage {} is not valid",
    -4032: "Exceed maximum cancel order size.",
    -4045: "Reach max stop order limit.",
    -4046: "No need to change margin type.",
    -4047: "Margin type cannot be changed if there exists open orders.",
    -4048: "Margin type cannot be changed if there exists position.",
    -4049: "Add margin only support for isolated position.",
    -4050: "Cross balance insufficient.",
    -4051: "Isolated balance insufficient.",
    -4059: "No need to change position side.",
    -4060: "Invalid position side.",
    -4061: "Order's position side does not match user's setting.",
    -4062: "Invalid or improper reduceOnly value.",
    -4067: "Position side cannot be changed if there exists open orders.",
    -4068: "Position side cannot be changed if there exists position.",
    -4082: "Invalid number of batch place orders.",
    -4116: "clientOrderId is duplicated",
    -4117: "Stop order is in triggering process. Please try again later.",
    -4120: "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
    -4130: "An open stop or take profit order with GTE and closePosition in the direction is existing.",
    -4131: "The counterparty's best price does not meet the PERCENT_PRICE filter limit",
    -4132: "Callback rate {} is not valid",
    -4135: "Invalid activation price",
    -4136: "Target strategy invalid for orderType {} with closePosition true",
    -4137: "Quantity must be zero with closePosition equals true",
    -4138: "Reduce only must be true with closePosition equals true",
    -4140: "Invalid symbol status for opening position",
    -4141: "Symbol is closed",
    -4161: "Leverage reduction is not supported in Isolated Margin Mode with open positions",
    -4164: "Order's notional must be no smaller than {} (unless you choose reduce only)",
    -4171: "No need to change multi-assets mode",
    -5021: "Due to the order could not be filled immediately, the FOK order has been rejected. "
    "The order will not be recorded in the order history",
    -5022: "Due to the order could not be executed as maker, the Post Only order will be rejected. "
    "The order will not be recorded in the order history",
    -5000: "Path {}, Method {} is invalid",
    -5024: "Symbol is not in trading status. Order amendment is not permitted.",
    -5025: "Only limit order is supported.",
    -5026: "Exceed maximum modify order limit.",
    -5027: "No need to modify the order.",
    -5038: "Parameter 'priceMatch' is not supported here.",
    -5040: "Invalid goodTillDate.",
}

_STATUS = {-2014: 401, -2015: 401, -1003: 429, -1015: 429, -1007: 408, -1008: 503, -5000: 404}


class VenueError(Exception):
    """An answer of the form {"code", "msg"} with its HTTP status; raised by handlers, caught once in the façade."""

    def __init__(self, code: int, *detail: object, text: str | None = None, status: int | None = None) -> None:
        self.code = code
        self.msg = text if text is not None else TEXTS[code].format(*detail)
        self.status = status if status is not None else _STATUS.get(code, 400)
        super().__init__(f"{code}: {self.msg}")

    def body(self) -> dict[str, object]:
        """The JSON object Binance sends, also used for the rows of a batch answer."""
        return {"code": self.code, "msg": self.msg}

    def response(self) -> Response:
        """The whole HTTP answer, without rate-limit headers."""
        return json_response(self.body(), status=self.status, code=self.code)


def json_response(payload: object, *, status: int = 200, code: int | None = None) -> Response:
    """A compact JSON answer; `payload` holds only str, int, float, bool, None, lists and dicts (never Decimal)."""
    body = json.dumps(payload, separators=(",", ":")).encode()
    return Response(status=status, headers={"content-type": "application/json"}, body=body, code=code)
