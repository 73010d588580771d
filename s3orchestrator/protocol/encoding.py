"""Percent-encoding as S3 does it, and the two forms of time on its wire."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from time import gmtime
from urllib.parse import quote

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PLAIN = re.compile(r"[A-Za-z0-9._~/-]*\Z")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SECONDS = tuple(f"{second:02}.000Z" for second in range(60))
_EPOCH = date(1970, 1, 1).toordinal()
_MONTH_NUMBERS = {name: number for number, name in enumerate(_MONTHS, 1)}

# The three forms a recipient must read (RFC 9110 section 5.6.7); only the first is ever sent.
_TIME = r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)"
_HTTP_DATES = (
    re.compile(
        rf"[A-Z][a-z]{{2}}, (?P<d>\d\d) (?P<b>[A-Z][a-z]{{2}}) (?P<Y>\d{{4}}) {_TIME} GMT\Z", re.ASCII
    ),
    re.compile(rf"[A-Z][a-z]+day, (?P<d>\d\d)-(?P<b>[A-Z][a-z]{{2}})-(?P<y>\d\d) {_TIME} GMT\Z", re.ASCII),
    re.compile(rf"[A-Z][a-z]{{2}} (?P<b>[A-Z][a-z]{{2}}) (?P<d>[ \d]\d) {_TIME} (?P<Y>\d{{4}})\Z", re.ASCII),
)


def has_bad_escape(text: bytes) -> bool:
    """Tell whether a `%` in `text` is not followed by two hex digits."""
    return _BAD_ESCAPE.search(text) is not None


def encode_key(key: str) -> str:
    """
    Percent-encode a key for a URL, a `Location` or a listing with `encoding-type=url`.

    Slashes stay; a space is `%20` and a plus `%2B`, so that both ways of reading a plus agree.
    """
    return key if _PLAIN.match(key) else quote(key, safe="/")


def xml_time(milliseconds: int) -> str:
    """
    Return a time as S3 writes it in documents: whole seconds, and `.000` all the same.

    Cut rather than rounded, so that it is never later than the header says.
    """
    minute, second = divmod(milliseconds // 1000, 60)
    return _minute(minute) + _SECONDS[second]


@lru_cache(maxsize=4096)
def _minute(minute: int) -> str:
    moment = gmtime(minute * 60)
    return (
        f"{moment.tm_year:04}-{moment.tm_mon:02}-{moment.tm_mday:02}T{moment.tm_hour:02}:{moment.tm_min:02}:"
    )


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> str:
    """Return a time as headers have it: `Sat, 21 Nov 2026 02:15:00 GMT`."""
    moment = gmtime(seconds)
    return (
        f"{_DAYS[moment.tm_wday]}, {moment.tm_mday:02} {_MONTHS[moment.tm_mon - 1]} {moment.tm_year:04}"
        f" {moment.tm_hour:02}:{moment.tm_min:02}:{moment.tm_sec:02} GMT"
    )


def parse_http_date(text: str) -> int | None:
    """Return the Unix time of an HTTP date, None if it is none."""
    for form in _HTTP_DATES:
        found = form.match(text)
        if found is not None:
            return _seconds(found.groupdict())
    return None


def _seconds(fields: dict[str, str | None]) -> int | None:
    short = fields.get("y")
    year = _full_year(int(short)) if short else int(fields["Y"] or 0)
    day, hour, minute, second = (int(fields[name] or 0) for name in "dHMS")
    try:
        midnight = date(year, _MONTH_NUMBERS.get(fields["b"] or "", 0), day).toordinal() - _EPOCH
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    return midnight * 86400 + hour * 3600 + minute * 60 + second


def _full_year(two_digits: int) -> int:
    # RFC 850 dates are history; nobody writes one for a year before 1970.
    return two_digits + (1900 if two_digits >= 70 else 2000)
