"""Keys that are legal in S3 and that something on the way usually mangles."""

from __future__ import annotations

LONGEST = 1000  # bytes; a key may have 1024, but some clients put a bucket's name in front of it

ODD_KEYS = {
    "space": "odd/a b  c",
    "edges": " odd edges ",
    "plus": "odd/a+b+c",
    "percent": "odd/100%",
    "escapes": "odd/%2F%20%00%zz",
    "unicode": "odd/grüße/日本語/😀",
    "decomposed": "odd/e\u0301 is not \u00e9",
    "last code point": "odd/\U0010ffff",
    "double slash": "odd//double///slash",
    "leading slash": "/odd",
    "slash": "/",
    "parent": "odd/../parent",
    "dot": "./odd/.",
    "only dots": "..",
    "trailing slash": "odd/folder/",
    "file beside folder": "odd/folder",
    "inside folder": "odd/folder/file",
    "quotes": "odd/\"double\" 'single' `back`",
    "markup": 'odd/<a href="x">&amp;</a>]]>',
    "query": "odd/a?b=c&d=e#f",
    "punctuation": "odd/!$&'()*,;:=@[]{}|\\^~-_.",
    "dollars": "odd/$HOME ${x} $$ %(key)s",
    "unique name": "odd/a~0123456789abcdefghijklmnop",
    "hashed name": "~s3o/odd",
    "our area": ".s3o/identity",
    "long": "odd/" + "k" * (LONGEST - 4),
    "long unicode": "odd/" + "é" * ((LONGEST - 4) // 2),
    "deep": "odd" + "/d" * ((LONGEST - 3) // 2),
}

# Not every client can send these, and not every one can read them in a listing.
WHITE_SPACE = {
    "tab": "odd/tab\tin it",
    "newline": "odd/new\nline",
    "carriage return": "odd/carriage\rreturn",
}
CONTROL = {
    "bell": "odd/bell\x07",
    "first": "odd/\x01",
    "escape": "odd/\x1b[31mred",
    "delete": "odd/delete\x7f",
    "c1": "odd/next\x85line",
    "no character": "odd/\ufffe",
}
EVERY_KEY = ODD_KEYS | WHITE_SPACE | CONTROL
