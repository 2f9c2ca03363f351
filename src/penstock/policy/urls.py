"""Web addresses in the names database: the categories of a host together with a path, for requests that show it.

An entry is a host (alone, or with the hosts below it) and the beginning of a path. It covers a request whose path is its
own, or goes on behind it with a slash; one that ends with a slash covers all below it; one with a query that very query:

    entry    b.test/1       covers    b.test/1    b.test/1?x    b.test/1/2        not    b.test/12
             b.test/1/                b.test/1/   b.test/1/2                              b.test/1
             b.test/1?x               b.test/1?x                                          b.test/1?x&y

The table is of the same form as that of names. Its hash goes on where the host's ends, over the path from its first byte;
capitals differ there. Each host that has entries is in it by itself as a mark, so that a host without any costs what a name
costs. Host and path are compared in canonical form, so that another spelling is no way around a list: escapes undone until
none is left, numbers as IPv4 addresses, `.` and `..` and repeated slashes resolved, the rest escaped again.

It does not know schemes and ports (an entry covers all of them), and nothing of the request but its two texts.
Source: Safe Browsing, "URLs and Hashing"; RFC 3986, 5.2.4 and 6.2.2.
"""

from penstock.compile.memory import put8, put64, shared, u8, u64
from penstock.policy.names import (
    HOST_LIMIT,
    LABEL_LIMIT,
    NAMES_KEY,
    SET_BELOW,
    SET_HERE,
    URL_COUNT,
    URLS_TABLE,
    apply_set,
    find_categories,
    find_set,
    finish_hash,
    fold_byte,
    mix_byte,
)

TARGET_LIMIT = 1 << 16  # bytes: no longer request is held
PART_LIMIT = 64  # parts of a path at whose ends an entry may end
IP_TEXT_LIMIT = 15  # bytes of a host behind whose address some resolvers take any words

# The scratch memory of a look-up.
PATH_BYTES = 0
WHOLE_BYTES = 8  # path and query
HOST_AT = 16
TARGET_AT = HOST_AT + 3 * HOST_LIMIT + 16
SCRATCH_BYTES = TARGET_AT + 3 * TARGET_LIMIT + 8


@shared
def read_hex(byte):  # type: ignore[no-untyped-def]
    """The value of a hexadecimal digit; -1 for another byte."""
    if 48 <= byte <= 57:
        return byte - 48
    low = byte | 32
    if 97 <= low <= 102:
        return low - 87
    return -1


@shared
def put_unescaped(out, length, byte):  # type: ignore[no-untyped-def]
    """Put one more byte behind out[0:length), and undo the escapes that it completes.

    Reads, writes: out. Returns: the length then. Bounds: length turns, each of which takes two bytes away.
    No two escapes overlap, so that undoing each as it is complete leaves what repeated passes over the whole would.
    """
    put8(out + length, byte)
    length += 1
    while length >= 3 and u8(out + length - 3) == 37:
        high, low = read_hex(u8(out + length - 2)), read_hex(u8(out + length - 1))
        if high < 0 or low < 0:
            break
        put8(out + length - 3, high * 16 + low)
        length -= 2
    return length


@shared
def escape_bytes(out, start, length):  # type: ignore[no-untyped-def]
    """Escape in place what does not stand for itself in out[start:length): controls, spaces, other than ASCII, `#`, `%`.

    Reads, writes: out, up to start + 3 * (length - start). Returns: the length then. Bounds: 2 * length turns.
    """
    size = length
    for at in range(start, length):
        byte = u8(out + at)
        if byte <= 32 or byte >= 127 or byte == 35 or byte == 37:
            size += 2
    end, to = length, size
    while to > end:
        end -= 1
        byte = u8(out + end)
        if byte <= 32 or byte >= 127 or byte == 35 or byte == 37:
            to -= 3
            put8(out + to, 37)
            for at in range(2):
                digit = (byte >> (4 - 4 * at)) & 15
                put8(out + to + 1 + at, digit + 48 + 39 * (digit > 9))
        else:
            to -= 1
            put8(out + to, byte)
    return size


@shared
def read_ipv4(text, length):  # type: ignore[no-untyped-def]
    """Read an IPv4 address as C's inet_aton does: one to four numbers, decimal, octal or hexadecimal, the last fills up.

    Reads: text[0:length). Writes: nothing. Returns: the address; -1 for other text. Bounds: length turns.
    A number that is too large is taken modulo its place, as Safe Browsing does.
    """
    address, parts, at = 0, 0, 0
    while at < length:
        base = 10
        if u8(text + at) == 48:
            base = 8
            if at + 1 < length and u8(text + at + 1) | 32 == 120:
                base = 16
                at += 2
        value, start = 0, at
        while at < length and u8(text + at) != 46:
            digit = read_hex(u8(text + at))
            if digit < 0 or digit >= base:
                return -1
            value = (value * base + digit) & 0xFFFFFFFF
            at += 1
        parts += 1
        if at == start or parts > 4:
            return -1
        if at == length:
            room = 8 * (5 - parts)
            return address << room | (value & ((1 << room) - 1))
        address = address << 8 | (value & 255)
        at += 1
    return -1


@shared
def put_ipv4(out, address):  # type: ignore[no-untyped-def]
    """Put an IPv4 address with dots. Writes: out[0:15). Returns: its length. Bounds: constant."""
    length = 0
    for part in range(4):
        value = (address >> (24 - 8 * part)) & 255
        if part > 0:
            put8(out + length, 46)
            length += 1
        if value >= 100:
            put8(out + length, 48 + value // 100)
            length += 1
        if value >= 10:
            put8(out + length, 48 + value // 10 % 10)
            length += 1
        put8(out + length, 48 + value % 10)
        length += 1
    return length


@shared
def write_host(host, length, out):  # type: ignore[no-untyped-def]
    """Write a host in canonical form.

    Reads: host[0:length). Writes: out[0:3 * min(length, HOST_LIMIT) + 16).
    Returns: its length; 0 for a host without a label, and for one longer than HOST_LIMIT.
    Bounds: HOST_LIMIT bytes, a few times.
    """
    if length > HOST_LIMIT:
        return 0
    size = 0
    for at in range(length):
        size = put_unescaped(out, size, u8(host + at))
    kept = 0
    for at in range(size):
        byte = u8(out + at)
        if byte == 46 and (kept == 0 or u8(out + kept - 1) == 46):
            continue
        if 65 <= byte <= 90:
            byte += 32
        put8(out + kept, byte)
        kept += 1
    if kept > 0 and u8(out + kept - 1) == 46:
        kept -= 1
    end = kept
    if kept <= IP_TEXT_LIMIT:
        for at in range(1, kept):
            if u8(out + at) == 32:
                end = at
                break
    address = read_ipv4(out, end)
    if address >= 0:
        return put_ipv4(out, address)
    return escape_bytes(out, 0, kept)


@shared
def find_path(target, end):  # type: ignore[no-untyped-def]
    """Where the path of a request target begins: at once, or behind `scheme://host` (RFC 9112, 3.2.2).

    Reads: target[0:end). Writes: nothing. Returns: an address, `end` when there is no path. Bounds: end - target turns.
    """
    if target < end and u8(target) == 47:
        return target
    at = target
    while at < end and u8(at) != 47 and u8(at) != 63 and u8(at) != 35:
        at += 1
    if target + 1 < at < end - 1 and u8(at - 1) == 58 and u8(at) == 47 and u8(at + 1) == 47:
        at += 2
        while at < end and u8(at) != 47 and u8(at) != 63 and u8(at) != 35:
            at += 1
        return at
    return end


@shared
def resolve_path(out, length):  # type: ignore[no-untyped-def]
    """Resolve `.` and `..` and repeated slashes in out[0:length), in place, so that it begins with one slash.

    Reads, writes: out[0:length + 1). Returns: the length then. Bounds: 2 * length turns.
    """
    size, at = 0, 0
    while at <= length:
        start = at
        while at < length and u8(out + at) != 47:
            at += 1
        part = at - start
        dots = 0
        if part == 1 and u8(out + start) == 46:
            dots = 1
        if part == 2 and u8(out + start) == 46 and u8(out + start + 1) == 46:
            dots = 2
            if size > 0:
                size -= 1
                while size > 0 and u8(out + size - 1) != 47:
                    size -= 1
        if part > 0 and dots == 0:
            for step in range(part):
                put8(out + size + step, u8(out + start + step))
            size += part
            if at < length:
                put8(out + size, 47)
                size += 1
        at += 1
    for step in range(size):
        put8(out + size - step, u8(out + size - step - 1))
    put8(out, 47)
    return size + 1


@shared
def write_target(target, length, scratch):  # type: ignore[no-untyped-def]
    """Write the path and query of a request target in canonical form, without a fragment.

    Reads: target[0:min(length, TARGET_LIMIT)). Writes: scratch (PATH_BYTES, WHOLE_BYTES, and the text at TARGET_AT).
    Returns: WHOLE_BYTES. Bounds: TARGET_LIMIT bytes, a few times.
    """
    out, end = scratch + TARGET_AT, target + min(length, TARGET_LIMIT)
    at = find_path(target, end)
    size = 0
    while at < end and u8(at) != 63 and u8(at) != 35:
        byte = u8(at)
        if byte != 9 and byte != 10 and byte != 13:
            size = put_unescaped(out, size, byte)
        at += 1
    size = escape_bytes(out, 0, resolve_path(out, size))
    put64(scratch + PATH_BYTES, size)
    if at + 1 < end and u8(at) == 63 and u8(at + 1) != 35:
        query = out + size + 1
        at += 1
        filled = 0
        while at < end and u8(at) != 35:
            byte = u8(at)
            if byte != 9 and byte != 10 and byte != 13:
                filled = put_unescaped(query, filled, byte)
            at += 1
        put8(out + size, 63)
        size += 1 + escape_bytes(query, 0, filled)
    put64(scratch + WHOLE_BYTES, size)
    return size


@shared
def apply_paths(names, state, scratch, mask, part):  # type: ignore[no-untyped-def]
    """The categories of a request after the say of all entries of one host that cover its path, the longest last.

    Reads: names, scratch as `write_target` left it. Writes: nothing. Returns: a bit mask.
    Bounds: WHOLE_BYTES turns, 2 * PART_LIMIT + 4 look-ups.
    """
    key = u64(names + NAMES_KEY + 8)
    text = scratch + TARGET_AT
    end = text + u64(scratch + PATH_BYTES)
    whole_end = text + u64(scratch + WHOLE_BYTES)
    at, slashes = text, 0
    while at < end:
        byte = u8(at)
        is_end = byte == 47 and slashes <= PART_LIMIT
        if is_end and slashes > 0:
            mask = apply_set(mask, find_set(names, URLS_TABLE, finish_hash(state, key)), part)
        state = fold_byte(state, byte)
        if is_end:
            slashes += 1
            mask = apply_set(mask, find_set(names, URLS_TABLE, finish_hash(state, key)), part)
        at += 1
    if u8(end - 1) != 47:
        mask = apply_set(mask, find_set(names, URLS_TABLE, finish_hash(state, key)), part)
    if whole_end > end:
        while at < whole_end:
            state = fold_byte(state, u8(at))
            at += 1
        mask = apply_set(mask, find_set(names, URLS_TABLE, finish_hash(state, key)), part)
    return mask


@shared
def find_url_categories(names, host, host_bytes, target, target_bytes, scratch):  # type: ignore[no-untyped-def]
    """Find the categories of a request for a path: those of its host, changed by what the entries of web addresses say.

    Reads: names, host[0:host_bytes), target[0:target_bytes) (as in the request line).
    Writes: scratch[0:SCRATCH_BYTES).
    Returns: a bit mask of categories. A host longer than HOST_LIMIT has those that `find_categories` finds.
    Bounds: those of `find_categories`, `write_host`, and, for a host with entries, of `write_target`; LABEL_LIMIT times
        those of `apply_paths`, once for each name with entries at or above the host.
    """
    length = write_host(host, host_bytes, scratch + HOST_AT)
    if length == 0:
        return find_categories(names, host, host_bytes)
    host = scratch + HOST_AT
    mask = find_categories(names, host, length)
    if u64(names + URL_COUNT) == 0:
        return mask
    first = host + max(0, length - HOST_LIMIT)
    at = host + length - 1
    state = u64(names + NAMES_KEY)
    key = u64(names + NAMES_KEY + 8)
    is_written = False
    labels = 0
    while at >= first - 1:
        if at < first or u8(at) == 46:
            if find_set(names, URLS_TABLE, finish_hash(state, key)) != 0:
                if not is_written:
                    write_target(target, target_bytes, scratch)
                    is_written = True
                part = SET_BELOW
                if at < host:
                    part = SET_HERE
                mask = apply_paths(names, state, scratch, mask, part)
            labels += 1
            if at < first or labels == LABEL_LIMIT:
                return mask
        state = mix_byte(state, u8(at))
        at -= 1
    return mask


@shared
def hash_urls(text, end, key, out, limit):  # type: ignore[no-untyped-def]
    """Hash the web addresses (host and path in canonical form) of [text, end), each ended by a line feed, for the builder.

    Reads: text[0:end), key (two words). Writes: out (one int64 an address).
    Returns: how many were hashed.
    Bounds: end - text bytes, at most `limit` addresses.
    """
    count = 0
    while text < end and count < limit:
        path = text
        while path < end and u8(path) != 47 and u8(path) != 10:
            path += 1
        state = u64(key)
        at = path - 1
        while at >= text:
            state = mix_byte(state, u8(at))
            at -= 1
        while path < end and u8(path) != 10:
            state = fold_byte(state, u8(path))
            path += 1
        put64(out + count * 8, finish_hash(state, u64(key + 8)))
        count += 1
        text = path + 1
    return count
