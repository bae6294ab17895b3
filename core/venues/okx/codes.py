"""OKX's error codes and what they say about the request that got them (§7). A code that is missing is ambiguous."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from core.engine.ports import About, Rejected
from core.venues.errors import ENDPOINT, ErrorTable, Meaning, Silence


def _span(words: str) -> Iterator[str]:
    """`51000-51003 51015`: every code of it."""
    for word in words.split():
        first, _, last = word.partition("-")
        yield from map(str, range(int(first), int(last or first) + 1))


_RESTRICTED = (
    "50007 50009 50012 50027-50030 50032 50035 50041 50044 50051 50059 50060 50067 50120 51009 51010 51024 51037 "
    "51038 51198 54008 59113 59114 59519"
)
_MEANINGS: Mapping[Meaning, str] = {
    # Position, coin or account are frozen for a liquidation, funding or settlement; the same words for an amendment of
    # an order that has too many under way. All pass by themselves within seconds.
    Meaning.UNAVAILABLE: "50017-50023 50046 50057 50062 51029 51030 51342 51513",
    Meaning.LIMITED: "50011 50040 50061 51113 60014 60023",
    # An order that arrived after its own expiry is not executed: either the way was slow or our clock is.
    Meaning.CLOCK: "50036 50037 50102 50112 60004 60006",
    Meaning.AUTH: "50008 50100 50101 50103-50111 50113 50114 50118 50119 50121 60005 60007 60024 60032",
    Meaning.RESTRICTED: _RESTRICTED,
    # The last five say that the id is there already: an earlier send of ours arrived, so ask what became of it.
    # 51412 is both "timed out" and "has been triggered".
    Meaning.UNKNOWN: (
        "50001 50004 50013 50026 50042 51054 51149 51412 63999 64007 51011 51016 50071 51065 51068"
    ),
    Meaning.REFUSED: (
        "50000 50002 50005 50006 50010 50014-50016 50024 50025 50033 50038 50039 50045 50049 50050 50052 50053 50069 "
        "50115 50116 50122 51000-51008 51012 51014 51015 51017-51023 51025-51028 51031-51036 51039-51044 "
        "51046-51053 51055-51059 51063 51066 51069-51096 51098-51112 51115-51117 51119-51140 51142-51144 51147 "
        "51148 51150 51152-51156 51158 51159 51162-51171 51173-51182 51185-51187 51192-51197 51201-51207 "
        "51250-51265 51267-51295 51298-51313 51317 51320-51333 51340 51341 51343-51359 51370 51380-51411 51413 "
        "51415 51416 51500-51503 51505-51512 51514 51520-51532 51536-51539 51543 51600-51608 51610 51611 51620 "
        "51621 54000-54007 54009-54031 54035 54036 59000-59002 59004-59006 59101-59112 59117-59125 59132-59142 "
        "59200-59202 59300-59317 59319 59402 59668-59670"
    ),
}  # fmt: skip

CODES: Mapping[str, Meaning] = {
    "404": Meaning.REFUSED,  # no such address: nobody can have executed anything
    **{code: meaning for meaning, words in _MEANINGS.items() for code in _span(words)},
}
_WINDOW_MS = 2_000
ERRORS = ErrorTable(
    venue="okx",
    codes=CODES,
    # No header tells the end of a limit. A window is two seconds long and begins anew with what is sent too early.
    silences={
        "": Silence(ms=_WINDOW_MS, bucket=ENDPOINT),
        "50011": Silence(ms=_WINDOW_MS, bucket=ENDPOINT),  # whatever the status it comes with
        "50061": Silence(ms=_WINDOW_MS, bucket="orders"),
        "429": Silence(ms=_WINDOW_MS),
    },
    remedies={
        "51010": "switch the account mode to futures mode on the venue's web page (trade, settings, account mode)",
        "59000": "close every position and cancel every order and bot of the account first, then change the setting",
    },
)

NO_SUCH_ORDER = "51603"
WRONG_PARAMETER = "51000"
"""Also what an order gets that names a position side where there is none, or none where there are two."""
_ACTIVATION = "activePx"
LEVERAGE_NOT_TOLD = "59111"
"""Portfolio margin has no leverages to ask for."""

ABOUT: Mapping[str, About] = {
    code: about
    for about, words in {
        About.WOULD_TRIGGER: "51046-51053 51277-51280 51300-51308",
        About.NOTHING_TO_REDUCE: "51023 51043 51058 51112 51169 51170",
        About.INSUFFICIENT_MARGIN: "51008 51119 51127 51131 51143 51502",
        About.POSITION_LIMIT: "51004 51103-51107 51129 51187 54006 54030 54031",
        About.ACCOUNT_RESTRICTED: _RESTRICTED,
        About.STALE_RULES: "51005 51007 51020 51101 51120 51121 51123 51150 51185 51202 51203 51252 51275",
        # Some of these are about where the account lives, but name one coin or pair, and the others go on.
        About.NOT_TRADING: (
            "50033 50052 51001 51015 51021 51022 51027 51028 51087 51110 51124 51155 51196 51197 51507 54012 54035"
        ),
        About.PRICE_BAND: "51006 51031 51116 51122 51135-51138 51250",
    }.items()
    for code in _span(words)
}
"""What a refusal changes for us; codes that are missing change nothing."""


def worded(rejected: Rejected) -> Rejected:
    """With what a parameter error is about, where its words tell: a trailing stop whose start the price has reached."""
    if rejected.code != WRONG_PARAMETER or _ACTIVATION not in rejected.detail:
        return rejected
    return replace(rejected, about=About.WOULD_TRIGGER)


def fault_in(body: object) -> tuple[str, str] | None:
    """Code and words of an error. The envelope says "1" or "2" where some row failed, and some endpoints say "0" even
    then: a single row speaks for the request, several are judged one by one by whoever sent them."""
    if not isinstance(body, Mapping):
        return "", "no JSON object"
    rows = body.get("data")
    judged = [row for row in rows if isinstance(row, Mapping) and "sCode" in row] if isinstance(rows, list) else []
    if len(judged) == 1:
        code = str(judged[0]["sCode"] or "0")
        return None if code == "0" else (code, str(judged[0].get("sMsg", "")))
    if judged:
        return None
    code = str(body.get("code", ""))
    return None if code == "0" else (code, str(body.get("msg", "")))
