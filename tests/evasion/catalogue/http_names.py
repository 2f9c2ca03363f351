"""How a request says which host it asks for: the field, the target, and the lines around them."""

from tests.evasion.recipe import COVER, Segment, Strategy, Stream, Tcp

H, C = b"{host}", COVER.encode()
END = b"\r\n"
READINGS = "servers differ in what they take for the host, or in whether they take it at all"
SPLIT = (Segment(0, "mid"), Segment("mid"))
Row = tuple[str, str, str, Stream, str]


def lines(*parts: bytes, end: bytes = END) -> bytes:
    """Lines with their ends, and the empty line."""
    return end.join((*parts, b"", b""))


def get(*fields: bytes, target: bytes = b"/", version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    return lines(method + b" " + target + b" " + version, *fields)


def rows(family: str, *found: Row) -> list[Strategy]:
    return [
        Strategy(f"{family}.{name}", family, source, what, Tcp(SPLIT, stream), over=("http",), ambiguous=doubt)
        for name, source, what, stream, doubt in found
    ]


def _mixed(host: str) -> bytes:
    letters = (letter.upper() if place % 2 else letter for place, letter in enumerate(host))
    return get(b"Host: " + "".join(letters).encode())


def _percent(host: str) -> bytes:
    return get(b"Host: %%%02x" % ord(host[0]) + host[1:].encode())


FIELD = rows(
    "http-host",
    ("lower", "GoodbyeDPI -r; zapret hostcase", "the field's name in lower case", get(b"host: " + H), ""),
    ("mixed-field", "GoodbyeDPI -r; byedpi --mod-http", "`hoSt`", get(b"hoSt: " + H), ""),
    ("upper-field", "zapret hostspell", "`HOST`", get(b"HOST: " + H), ""),
    ("mixed-name", "GoodbyeDPI -m; zapret domcase", "the name in mixed case", _mixed, ""),
    ("no-space", "GoodbyeDPI -s; zapret hostnospace", "no space behind the colon", get(b"Host:" + H), ""),
    ("spaces", "byedpi --mod-http", "spaces before the name and behind it", get(b"Host:    " + H + b"   "), ""),
    ("tab", "zapret hosttab", "a tab in place of the space", get(b"Host:\t" + H), ""),
    ("tab-behind", "zapret hosttab", "a tab behind the name", get(b"Host: " + H + b"\t"), ""),
    ("dot", "zapret hostdot", "a dot behind the name", get(b"Host: " + H + b"."), ""),
    ("port", "RFC 9112", "a port behind the name", get(b"Host: " + H + b":80"), ""),
    ("dot-and-port", "zapret hostdot", "a dot and a port", get(b"Host: " + H + b".:80"), ""),
    ("empty-port", "RFC 3986", "a colon without a port", get(b"Host: " + H + b":"), ""),
    ("odd-port", "Geneva, tamper load", "a port that is no number", get(b"Host: " + H + b":x1"), READINGS),
    ("two-dots", "Geneva, tamper load", "two dots behind the name", get(b"Host: " + H + b".."), READINGS),
    ("space-before-colon", "Geneva, insert space", "a space before the colon", get(b"Host : " + H), READINGS),
    ("tab-before-colon", "Geneva, insert tab", "a tab before the colon", get(b"Host\t: " + H), READINGS),
    ("folded", "RFC 9112 5.2, line folding", "the name on a folded line", get(b"Host:\r\n " + H), READINGS),
    ("folded-before", "RFC 9112 5.2", "another field is folded", get(b"X: y\r\n z", b"Host: " + H), READINGS),
    ("two-good-first", "request smuggling", "two Host fields, the allowed first", get(b"Host: " + C, b"Host: " + H),
     READINGS),
    ("two-good-last", "request smuggling", "two Host fields, the allowed last", get(b"Host: " + H, b"Host: " + C),
     READINGS),
    ("two-same", "request smuggling", "the field twice, with one name", get(b"Host: " + H, b"Host: " + H), READINGS),
    ("list", "request smuggling", "two names in one field", get(b"Host: " + C + b", " + H), READINGS),
    ("list-turned", "request smuggling", "two names in one field, the allowed last", get(b"Host: " + H + b", " + C),
     READINGS),
    ("userinfo", "RFC 3986", "a user before the name", get(b"Host: " + C + b"@" + H), READINGS),
    ("leading-space", "Geneva, insert", "a space before the first field",
     lines(b"GET / HTTP/1.1", b" X: y", b"Host: " + H), READINGS),
    ("leading-space-host", "Geneva, insert", "a space before the Host field", lines(b"GET / HTTP/1.1", b" Host: " + H),
     READINGS),
    ("next-line", "str.splitlines()", "a NEL character before a field of the allowed name",
     get(b"Host: " + H + b"\x85Host: " + C), READINGS),
    ("form-feed", "str.splitlines()", "a form feed before the name", get(b"Host:\x0c" + H), READINGS),
    ("cr-host", "email.parser, lone CR", "the real field behind a lone CR, no other", get(b"X: y\rHost: " + H),
     READINGS),
    ("cr-empty", "email.parser, lone CR", "two lone CRs, then the field", get(b"X: y\r\rHost: " + H, b"Host: " + C),
     READINGS),
    ("vertical-tab", "Geneva, insert", "a vertical tab before the name", get(b"Host:\x0b" + H), READINGS),
    ("null", "Geneva, insert", "a null byte behind the name", get(b"Host: " + H + b"\0"), READINGS),
    ("null-other", "Geneva, insert", "the allowed name, a null byte, the real one", get(b"Host: " + C + b"\0" + H),
     READINGS),
    ("mailbox", "CPython reads fields as mail", "a line as it begins a mailbox, before the field",
     get(b"From a b", b"Host: " + H), READINGS),
    ("port-twice", "parser confusion", "two ports", get(b"Host: " + H + b":80:80"), READINGS),
    ("quoted", "Geneva, tamper load", "the name in quotes", get(b'Host: "' + H + b'"'), READINGS),
    ("colonless", "Geneva, tamper load", "a line without a colon before it", get(b"nonsense", b"Host: " + H), READINGS),
    ("cr-alone", "request smuggling", "a lone CR in a field, with the real one behind it",
     get(b"X: y\rHost: " + H, b"Host: " + C), READINGS),
    ("percent", "Geneva, tamper load", "a letter of the name as %62", _percent, READINGS),
    ("late", "GoodbyeDPI -p; byedpi", "forty fields before it",
     get(*(b"X-%d: %s" % (n, b"y" * 60) for n in range(40)), b"Host: " + H), ""),
    ("far", "Geneva, insert", "6,000 bytes of one field before it", get(b"X: " + b"y" * 6000, b"Host: " + H), ""),
    ("very-far", "Geneva, insert", "70,000 bytes of fields before it",
     get(*(b"X-%d: " % n + b"y" * 7_000 for n in range(10)), b"Host: " + H),
     "heads of more than 64 KB are refused, a limit that is stated"),
    ("long-field", "Geneva, insert", "a cookie of 3,000 bytes behind it",
     get(b"Host: " + H, b"Cookie: a=" + b"c" * 3000), ""),
    ("similar", "Geneva, tamper load", "fields that begin like it before it",
     get(b"Hos: a", b"Hostname: " + C, b"X-Host: " + C, b"Host: " + H), ""),
    ("below", "list evasion", "a name below the blocked one", get(b"Host: www.a.b." + H), ""),
)  # fmt: skip
LINE = rows(
    "http-line",
    ("bare-lf", "zapret unixeol", "lines that end in LF alone", lines(b"GET / HTTP/1.1", b"Host: " + H, end=b"\n"), ""),
    ("mixed-ends", "zapret unixeol", "both kinds of line ends", b"GET / HTTP/1.1\nHost: " + H + b"\r\n\n", READINGS),
    ("empty-first", "zapret methodeol", "an empty line before the request", b"\r\n" + get(b"Host: " + H), ""),
    ("lf-first", "zapret methodeol", "a lone LF before the request", b"\n" + get(b"Host: " + H), ""),
    ("many-empty", "SymTCP, state", "sixty empty lines before the request", b"\r\n" * 60 + get(b"Host: " + H),
     "nginx skips any number of empty lines, Apache ten"),
    ("extra-space", "GoodbyeDPI -a; zapret methodspace", "two spaces behind the method",
     lines(b"GET  / HTTP/1.1", b"Host: " + H), READINGS),
    ("space-first", "Geneva, insert", "a space before the method", lines(b" GET / HTTP/1.1", b"Host: " + H), READINGS),
    ("tabs", "Geneva, insert", "tabs in the request line", lines(b"GET\t/\tHTTP/1.1", b"Host: " + H), READINGS),
    ("nbsp", "CPython's str.split()", "no-break spaces in the request line",
     lines(b"GET\xa0/\xa0HTTP/1.1", b"Host: " + H), READINGS),
    ("unit-separator", "CPython's str.split()", "unit separators in the request line",
     lines(b"GET\x1f/\x1fHTTP/1.1", b"Host: " + H), READINGS),
    ("next-line", "CPython's str.split()", "NEL characters in the request line",
     lines(b"GET\x85/\x85HTTP/1.1", b"Host: " + H), READINGS),
    ("form-feed", "CPython's str.split()", "form feeds in the request line",
     lines(b"GET\x0c/\x0cHTTP/1.1", b"Host: " + H), READINGS),
    ("nbsp-inside", "CPython's str.split()", "a no-break space before the method",
     lines(b"\xa0GET / HTTP/1.1", b"Host: " + H), READINGS),
    ("cr-in-line", "Geneva, insert", "a lone CR in the request line", lines(b"GET\r/ HTTP/1.1", b"Host: " + H),
     READINGS),
    ("cr-before-lf", "Geneva, insert", "two CRs before the LF", lines(b"GET / HTTP/1.1", b"Host: " + H, end=b"\r\r\n"),
     READINGS),
    ("trailing-space", "Geneva, insert", "a space behind the version", lines(b"GET / HTTP/1.1 ", b"Host: " + H),
     READINGS),
    ("lower-method", "Geneva, tamper method", "the method in lower case", get(b"Host: " + H, method=b"get"), READINGS),
    ("own-method", "Geneva, tamper method", "a method of one's own", get(b"Host: " + H, method=b"FROB"), ""),
    ("head", "RFC 9110", "HEAD", get(b"Host: " + H, method=b"HEAD"), ""),
    ("options", "RFC 9110", "OPTIONS *", get(b"Host: " + H, method=b"OPTIONS", target=b"*"), ""),
    ("delete", "RFC 9110", "DELETE", get(b"Host: " + H, method=b"DELETE"), ""),
    ("long-method", "Geneva, tamper method", "a method of 60 letters", get(b"Host: " + H, method=b"M" * 60), READINGS),
    ("version-1-0", "Geneva, tamper version", "HTTP/1.0", get(b"Host: " + H, version=b"HTTP/1.0"), ""),
    ("version-1-9", "Geneva, tamper version", "HTTP/1.9", get(b"Host: " + H, version=b"HTTP/1.9"), READINGS),
    ("version-odd", "Geneva, tamper version", "HTTP/01.1", get(b"Host: " + H, version=b"HTTP/01.1"), READINGS),
    ("version-lower", "Geneva, tamper version", "http/1.1", get(b"Host: " + H, version=b"http/1.1"), READINGS),
    ("version-none", "RFC 1945", "no version, with fields", lines(b"GET /", b"Host: " + H), READINGS),
    ("version-two", "RFC 9113", "HTTP/2.0 in a line of text", get(b"Host: " + H, version=b"HTTP/2.0"), READINGS),
    ("absolute", "RFC 9112 3.2.2", "an absolute target and an allowed Host",
     get(b"Host: " + C, target=b"http://" + H + b"/"), READINGS),
    ("absolute-alone", "RFC 9112 3.2.2", "an absolute target and no Host", get(target=b"http://" + H + b"/"), READINGS),
    ("absolute-same", "RFC 9112 3.2.2", "an absolute target, and Host the same",
     get(b"Host: " + H, target=b"http://" + H + b"/"), ""),
    ("absolute-allowed", "RFC 9112 3.2.2", "an allowed absolute target, and the real Host",
     get(b"Host: " + H, target=b"http://" + C + b"/"), READINGS),
    ("absolute-upper", "Geneva, tamper target", "the scheme in upper case",
     get(b"Host: " + C, target=b"HTTP://" + H + b"/"), READINGS),
    ("absolute-user", "RFC 3986", "an absolute target with a user",
     get(b"Host: " + C, target=b"http://" + C + b"@" + H + b"/"), READINGS),
    ("absolute-port", "RFC 9112 3.2.2", "an absolute target with a port",
     get(b"Host: " + C, target=b"http://" + H + b":80/"), READINGS),
    ("absolute-query", "RFC 3986", "an absolute target with a query and no path",
     get(b"Host: " + C, target=b"http://" + H + b"?x"), READINGS),
    ("absolute-fragment", "RFC 3986", "an absolute target with a fragment and no path",
     get(b"Host: " + C, target=b"http://" + H + b"#x"), READINGS),
    ("absolute-https", "RFC 9112 3.2.2", "an absolute target of https", get(b"Host: " + C, target=b"https://" + H + b"/"),
     READINGS),
    ("absolute-other", "RFC 3986", "an absolute target of a scheme of one's own",
     get(b"Host: " + C, target=b"x-y.z://" + H + b"/"), READINGS),
    ("no-host", "RFC 1945", "HTTP/1.0 without a Host, the name in the target",
     get(target=b"http://" + H + b"/", version=b"HTTP/1.0"), ""),
    ("http-0-9", "RFC 1945", "HTTP/0.9 with the name in the target", b"GET http://" + H + b"/\r\n", READINGS),
    ("connect", "RFC 9110 9.3.6", "CONNECT to the name", get(b"Host: " + H, method=b"CONNECT", target=H + b":80"),
     READINGS),
    ("long-target", "byedpi; Geneva, insert", "a target of 5,000 bytes", get(b"Host: " + H, target=b"/" + b"a" * 5000),
     ""),
    ("eight-bit", "Geneva, corrupt", "bytes above 127 in the target", get(b"Host: " + H, target=b"/\xff\xfe"), ""),
    ("space-in-target", "Geneva, insert", "a space in the target", get(b"Host: " + H, target=b"/a b"), READINGS),
    ("host-in-target", "Geneva, insert", "the allowed name in a field-like target",
     get(b"Host: " + H, target=b"/?Host:%20" + C), ""),
    ("fin-completes", "INTANG, FIN", "no empty line: the end of the connection completes it", b"", READINGS),
)  # fmt: skip
LINE[-1] = Strategy(
    LINE[-1].id, "http-line", LINE[-1].source, LINE[-1].what,
    Tcp((Segment(0, "mid"), Segment("mid", flags="FPA")), b"GET / HTTP/1.0\r\nHost: " + H + b"\r\n"), over=("http",),
)  # fmt: skip
STRATEGIES = [*FIELD, *LINE]
