"""What Bybit's codes mean: for the request that got them, and for what we do next (§7)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from core.engine.ports import About, Rejected
from core.venues.errors import ENDPOINT, ErrorTable, Meaning, Silence


def _table(meanings: Mapping[Meaning, str]) -> dict[str, Meaning]:
    return {code: meaning for meaning, codes in meanings.items() for code in codes.split()}


CODES = _table(
    {
        Meaning.DONE: "34040 110025 110026 110027 110043",
        Meaning.LIMITED: "10006 10018",
        Meaning.CLOCK: "10002",
        Meaning.UNAVAILABLE: "110063",  # a settlement, which is over in seconds
        Meaning.AUTH: "-2015 10003 10004 10007 10010 33004",
        Meaning.RESTRICTED: "10005 10008 10009 10024 10027 10028 100028 110023 110066 110123 110124 110125 110132",
        # 110072 (110030 of old) says that the id is there already: our own earlier send arrived: ask for it (ORD-03).
        Meaning.UNKNOWN: "-1 429 10000 10014 10016 10019 40004 110030 110072 110079 3400214",
        Meaning.REFUSED: (
            "10001 10017 10029 30034 30035 30133 30134 30135 30136 30208 30209 30228 30256 110001 110003 "
            "110004 110005 110006 110007 110008 110009 110010 110011 110012 110013 110014 110015 110017 110018 "
            "110019 110020 110021 110022 110024 110028 110029 110031 110032 110033 110034 110035 110036 "
            "110037 110038 110039 110040 110041 110042 110044 110045 110046 110047 110048 110049 110050 110051 "
            "110052 110053 110054 110055 110056 110057 110058 110059 110060 110061 110062 110064 110065 "
            "110067 110068 110069 110070 110071 110073 110074 110076 110077 110078 110080 110082 110083 110085 "
            "110086 110087 110088 110089 110090 110092 110093 110094 110095 110096 110097 110098 110099 110100 "
            "110101 110102 110103 110104 110105 110106 110107 110108 110109 110110 110111 110112 110113 110114 "
            "110115 110116 110117 110118 110119 110120 110121 110131 110135 110136 110137 130035 170346 170360 "
            "181017 182011 182100 182101 182102 182103 182108 182110 182111 182112 500010 500011 3100181 "
            "3100197 3100326 3200316 3200317 3200320 3200403 3200419 3200425 3200641 3400045 3400052 3400053 "
            "3400054 3400071 3400139 3400208 3400209 3400210 3400211 3400212 3400213 3401010"
        ),
    }
)
ERRORS = ErrorTable(
    venue="bybit",
    codes=CODES,
    silences={
        "10006": Silence(ms=1_000, bucket=ENDPOINT),
        "10018": Silence(ms=600_000),
        "403": Silence(ms=600_000),
        "": Silence(ms=1_000),
    },
    statuses={403: Meaning.LIMITED, 404: Meaning.REFUSED},
    reset_header="x-bapi-limit-reset-timestamp",
    remedies=dict.fromkeys(("10028", "110088"), "upgrade the account to a unified trading account"),
)
"""HTTP 403 comes from the network in front of the venue: this address asked too often, for ten minutes. With 404 there
is no such request (on this site, in this environment), so that nobody can have executed anything."""

NO_SUCH_ORDER = frozenset({"110001"})
NOT_UNIFIED = frozenset({"10028", "100028", "110067", "110088"})
"""The account is of the old kind, which has other rules altogether."""
OF_THE_CALLER = NOT_UNIFIED | {code for code, meaning in CODES.items() if meaning in {Meaning.AUTH, Meaning.CLOCK}}
"""Refusals of whoever asks, not of what is asked."""
PARAMETERS = "10001"

ABOUT: Mapping[str, About] = {
    code: about
    for about, codes in {
        About.WOULD_TRIGGER: "110092 110093",
        About.NOTHING_TO_REDUCE: "110017 110033 110034",
        About.INSUFFICIENT_MARGIN: "110004 110006 110007 110012 110014 110044 110045 110051 110052 110053",
        About.POSITION_LIMIT: (
            "110013 110021 110031 110047 110048 110085 110086 110087 110089 110090 110131 30135 30136 30256 3400139"
        ),
        About.ACCOUNT_RESTRICTED: "10005 10008 10009 10024 10027 110023 110066 110123 110124 110132",
        About.STALE_RULES: "110094",
        About.NOT_TRADING: "10029 110022 110042 110074 110095 110098 110099 110103 110118 110125 30228",
        About.PRICE_BAND: "110003 110120 110121 30208 30209",
    }.items()
    for code in codes.split()
}
"""What a refusal changes for us; codes that are missing change nothing."""

_WRONG_INDEX = re.compile(r"position idx not match", re.IGNORECASE)
_NO_POSITION = re.compile(r"zero position", re.IGNORECASE)
_STOP_SIDE = re.compile(r"StopLoss:.*should (?:lower|higher)|should be (?:lower|higher) than base", re.IGNORECASE)
_ACTIVATION = re.compile(r"active ?price|trailing ?active", re.IGNORECASE)
_STALE = re.compile(r"qty invalid|number of contracts|price invalid|trigger ?price invalid", re.IGNORECASE)
_WORDS: tuple[tuple[re.Pattern[str], About], ...] = (
    (_NO_POSITION, About.NOTHING_TO_REDUCE),
    (_STOP_SIDE, About.WOULD_TRIGGER),
    (_ACTIVATION, About.WOULD_TRIGGER),
    (_STALE, About.STALE_RULES),
)


def worded(rejected: Rejected) -> Rejected:
    """With what a parameter error is about read from its words: the venue has one code for all of them."""
    if rejected.code != PARAMETERS or rejected.about is not About.OTHER:
        return rejected
    about = next((about for pattern, about in _WORDS if pattern.search(rejected.detail)), About.OTHER)
    return Rejected(code=rejected.code, detail=rejected.detail, about=about)


def is_wrong_mode(rejected: Rejected) -> bool:
    """Whether the account's position mode is another than the request was made for."""
    return rejected.code == PARAMETERS and _WRONG_INDEX.search(rejected.detail) is not None


_LOGIN_WORDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"key has expired", re.IGNORECASE), "33004"),
    # "Params Error" alone is what a login gets whose `expires` is over.
    (re.compile(r"timestamp|expire|recv_window|^params error\.?$", re.IGNORECASE), "10002"),
    (re.compile(r"sign", re.IGNORECASE), "10004"),
    (re.compile(r"api ?-?_?key|permission|unmatched ip", re.IGNORECASE), "10003"),
)


def login_code(code: int, words: str) -> str:
    """The code of a refused login, which some sockets tell in words only; "" for none that is known."""
    if code:
        return str(code)
    return next((told for pattern, told in _LOGIN_WORDS if pattern.search(words)), "")


def fault_in(body: object) -> tuple[str, str] | None:
    """Code and words of an error; HTTP says 200 to almost all of them. An answer without a code is none of the venue's
    own."""
    if not isinstance(body, Mapping):
        return None
    code = body.get("retCode")
    if isinstance(code, bool) or not isinstance(code, int | str) or str(code) == "0":
        return None
    return str(code), str(body.get("retMsg", ""))
