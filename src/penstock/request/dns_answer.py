"""DNS as the server answers it: the records of a response, and its ECH configurations, which can be taken out.

    owner (compressed) │ TYPE │ CLASS │ TTL │ RDLENGTH │ priority │ target │ key, length, value │ key, length, value ...
                                                         └─────────────── of HTTPS and SVCB records ────────────────┘

Knows how to step through a response, where an `ech` parameter stands, and two ways to be rid of it:

- `remove_ech` writes the message without it, and every compression pointer that leads behind the removed bytes anew.
  Pointers are looked for where RFC 3597 4 lets a server write them. Where `mandatory` names ech, that goes too.
- `neutralise_ech` keeps the length, for TCP: each ECHConfig gets a version that no client will ever know. BoringSSL
  (Chromium) skips a configuration of another version and takes the list; without the policy of strict ECH it then
  sends an ordinary hello, as it does without a list. NSS skips it too and reports an empty list, which Firefox logs
  and passes over, for TCP and for QUIC. The list itself must stay well-formed: Chromium gives up on one that is not.

Refuses to know whether a policy wants that, and DNSSEC: who asked with DO would find the signature wrong. A message with
a signature of its own (TSIG, SIG(0)) is left alone.

Source: RFC 1035 4.1.3 and 4.1.4, RFC 2181 8 (TTL), RFC 3597 4 (names that may be compressed), RFC 9460 2.2 and 8
(SvcParams, mandatory), RFC 9848 (ech), RFC 9849 4 (ECHConfigList), RFC 8701 2 (versions nobody will assign).
"""

from penstock.compile.memory import be16, be32, move, put64, putbe16, same, shared, u8, u64
from penstock.request.dns import (
    ANCOUNT_OFF,
    ARCOUNT_OFF,
    HEADER_BYTES,
    HTTPS,
    LABEL_LIMIT,
    MESSAGE_FLAGS,
    NAME_STEPS_LIMIT,
    NSCOUNT_OFF,
    POINTER,
    POINTER_MASK,
    QDCOUNT_OFF,
    QR,
    QUESTION_TAIL_BYTES,
    RECORD_HEAD_BYTES,
    RECORDS_LIMIT,
    SIG,
    SOA,
    SVCB,
    TSIG,
    read_header,
    read_questions,
    skip_name,
)
from penstock.request.status import COMPLETE, NOT_MINE

# ---- one record: int64 slots; places are addresses --------------------------------------------------------------------
RECORD_NUMBER = 0  # how many records were stepped over, this one included
OWNER_AT, TYPE, CLASS, TTL, TTL_AT, DATA_AT, DATA_BYTES, SECTION = 8, 16, 24, 32, 40, 48, 56, 64
RECORD_BYTES = 80
ANSWER, AUTHORITY, ADDITIONAL = 1, 2, 3

# ---- an ech parameter: int64 slots ------------------------------------------------------------------------------------
ECH_AT, ECH_BYTES = 0, 8  # with its key and its length
ECH_SLOTS_BYTES = 16

# ---- what is cut out of a message: the record at hand, its ech, then (address, size) in ascending order ---------------
CUT_ECH = RECORD_BYTES
CUT_COUNT = CUT_ECH + ECH_SLOTS_BYTES
CUTS = CUT_COUNT + 8
CUT_LIMIT = 64  # two for each record with ech; resolvers return one to four such records
CUT_BYTES = 16
CUTS_BYTES = CUTS + CUT_LIMIT * CUT_BYTES

KEY_MANDATORY, KEY_ECH = 0, 5
PARAM_HEAD_BYTES = 4
PARAMS_LIMIT = 16_384  # parameters of 4 bytes in 65,535
CONFIGS_LIMIT = 16_384
UNKNOWN_VERSION = 0x0A0A  # reserved by RFC 8701 in the code points of extensions, from which versions of ECH are taken
TTL_SIGN = 0x80000000

CANNOT = -1


@shared
def read_answers(p, end, state, text):  # type: ignore[no-untyped-def]
    """Read the header and the questions of a response.

    Reads: [p, end), one whole message. Writes: as `dns.read_query`, but for the OPT.
    Returns: COMPLETE (a response may lack a question); NOT_MINE: a query, another opcode, no whole header; BAD: as there.
    """
    if read_header(p, end, state) != COMPLETE or u64(state + MESSAGE_FLAGS) & QR == 0:
        return NOT_MINE
    return read_questions(p, end, state, text)


@shared
def find_records(p, end, record):  # type: ignore[no-untyped-def]
    """Find the place of the first record, behind the questions.

    Reads: [p, end). Writes: RECORD_NUMBER. Returns: the place; 0 when header or questions are cut off.
    Bounds: every byte is looked at once.
    """
    put64(record + RECORD_NUMBER, 0)
    if end - p < HEADER_BYTES:
        return 0
    at = p + HEADER_BYTES
    for _ in range(be16(p + QDCOUNT_OFF)):
        at = skip_name(at, end)
        if at == 0 or at + QUESTION_TAIL_BYTES > end:
            return 0
        at += QUESTION_TAIL_BYTES
    return at


@shared
def find_record(at, end, p, record):  # type: ignore[no-untyped-def]
    """Step over the record at `at`: the place that `find_records` or the step before returned.

    Reads: [at, end), the counts of the header, RECORD_NUMBER. Writes: RECORD_BYTES.
    Returns: the place behind it; 0 when there is no further record; CANNOT when it is cut off. Bounds: one name.
    Source: RFC 1035 4.1.3; a TTL with its top bit set is 0 (RFC 2181 8).
    """
    number = u64(record + RECORD_NUMBER)
    answers = be16(p + ANCOUNT_OFF)
    authorities = answers + be16(p + NSCOUNT_OFF)
    if number >= authorities + be16(p + ARCOUNT_OFF):
        return 0
    head = skip_name(at, end)
    if head == 0 or head + RECORD_HEAD_BYTES > end or head + RECORD_HEAD_BYTES + be16(head + 8) > end:
        return CANNOT
    ttl = be32(head + 4)
    put64(record + RECORD_NUMBER, number + 1)
    put64(record + OWNER_AT, at)
    put64(record + TYPE, be16(head))
    put64(record + CLASS, be16(head + 2))
    put64(record + TTL, ttl if ttl < TTL_SIGN else 0)
    put64(record + TTL_AT, head + 4)
    put64(record + DATA_AT, head + RECORD_HEAD_BYTES)
    put64(record + DATA_BYTES, be16(head + 8))
    put64(record + SECTION, ANSWER if number < answers else (AUTHORITY if number < authorities else ADDITIONAL))
    return head + RECORD_HEAD_BYTES + be16(head + 8)


@shared
def _is_service(record):  # type: ignore[no-untyped-def]
    """Is it a record with service parameters?"""
    return u64(record + TYPE) == HTTPS or u64(record + TYPE) == SVCB


@shared
def _find_params(record):  # type: ignore[no-untyped-def]
    """The place of the first service parameter; 0 when the record is malformed.

    Reads: the record's data. Source: RFC 9460 2.2; the target must not be compressed, but some clients would follow it.
    """
    at = u64(record + DATA_AT)
    end = at + u64(record + DATA_BYTES)
    if end - at < 3:
        return 0
    return skip_name(at + 2, end)


@shared
def _find_param_end(at, end):  # type: ignore[no-untyped-def]
    """The place behind the parameter at `at`; 0 when it is cut off. Reads: [at, end)."""
    if at + PARAM_HEAD_BYTES > end or at + PARAM_HEAD_BYTES + be16(at + 2) > end:
        return 0
    return at + PARAM_HEAD_BYTES + be16(at + 2)


@shared
def find_ech(record, slots):  # type: ignore[no-untyped-def]
    """Find the ech parameter of a record.

    Reads: the record and its data. Writes: ECH_AT, ECH_BYTES. Returns: 1; 0 when there is none, or the record is neither
    HTTPS nor SVCB; CANNOT when it is malformed. Bounds: PARAMS_LIMIT. Source: RFC 9460 2.2, RFC 9848.
    """
    if not _is_service(record):
        return 0
    at = _find_params(record)
    end = u64(record + DATA_AT) + u64(record + DATA_BYTES)
    found = 0
    if at == 0:
        return CANNOT
    for _ in range(PARAMS_LIMIT):
        if at == end:
            return found
        behind = _find_param_end(at, end)
        if behind == 0:
            return CANNOT
        if be16(at) == KEY_ECH and found == 0:
            put64(slots + ECH_AT, at)
            put64(slots + ECH_BYTES, behind - at)
            found = 1
        at = behind
    return CANNOT


@shared
def _is_signature(record):  # type: ignore[no-untyped-def]
    """Does the record sign the whole message? Source: RFC 8945 4.2, RFC 2931 3 (a SIG that covers type 0)."""
    if u64(record + TYPE) == TSIG:
        return True
    return u64(record + TYPE) == SIG and u64(record + DATA_BYTES) >= 2 and be16(u64(record + DATA_AT)) == 0


@shared
def _rename_configs(at, end):  # type: ignore[no-untyped-def]
    """Give each ECHConfig of the list at `at` the unknown version.

    Reads and writes: [at, end). Returns: how many there were. Bounds: CONFIGS_LIMIT.
    Source: RFC 9849 4. What does not fit ends the list: clients refuse all of such a one.
    """
    at += 2
    for number in range(CONFIGS_LIMIT):
        if at + PARAM_HEAD_BYTES > end:
            return number
        putbe16(at, UNKNOWN_VERSION)
        at += PARAM_HEAD_BYTES + be16(at + 2)
    return CONFIGS_LIMIT


@shared
def neutralise_ech(p, end, cuts):  # type: ignore[no-untyped-def]
    """Make every ECH configuration of a response one that no client uses, without changing a length.

    Reads: [p, end). Writes: versions of ECHConfigs in it, when every record was understood; CUTS_BYTES at `cuts` (scratch).
    Returns: how many there were; CANNOT as `find_cuts`. Bounds: those of `find_cuts`, CONFIGS_LIMIT for each parameter.
    """
    if find_cuts(p, end, cuts) < 0:
        return CANNOT
    configs = 0
    for number in range(u64(cuts + CUT_COUNT)):
        cut = cuts + CUTS + number * CUT_BYTES
        at = u64(cut)
        if u64(cut + 8) >= PARAM_HEAD_BYTES and be16(at) == KEY_ECH:
            configs += _rename_configs(at + PARAM_HEAD_BYTES, at + u64(cut + 8))
    return configs


@shared
def _add_cut(cuts, at, size):  # type: ignore[no-untyped-def]
    """Note bytes to be cut out. Returns: 1; 0 when there are too many."""
    count = u64(cuts + CUT_COUNT)
    if count == CUT_LIMIT:
        return 0
    put64(cuts + CUTS + count * CUT_BYTES, at)
    put64(cuts + CUTS + count * CUT_BYTES + 8, size)
    put64(cuts + CUT_COUNT, count + 1)
    return 1


@shared
def _cut_mandatory(cuts, at, end):  # type: ignore[no-untyped-def]
    """Cut ech out of the `mandatory` parameter at `at`; all of the parameter when it names nothing else.

    Returns: 1, also when it does not name ech; 0 when there are too many cuts. Bounds: PARAMS_LIMIT. Source: RFC 9460 8.
    """
    if end - at == PARAM_HEAD_BYTES + 2:
        return _add_cut(cuts, at, end - at) if be16(at + PARAM_HEAD_BYTES) == KEY_ECH else 1
    at += PARAM_HEAD_BYTES
    for _ in range(PARAMS_LIMIT):
        if at + 2 > end:
            break
        if be16(at) == KEY_ECH:
            return _add_cut(cuts, at, 2)
        at += 2
    return 1


@shared
def _cut_record(cuts):  # type: ignore[no-untyped-def]
    """Note what is to be cut out of the record at hand. Returns: 1; 0 when it is malformed or there are too many cuts.

    Bounds: PARAMS_LIMIT. A key that stands there twice, which no client should take, is cut twice.
    """
    found = find_ech(cuts, cuts + CUT_ECH)
    if found <= 0:
        return 1 + found
    at = _find_params(cuts)
    end = u64(cuts + DATA_AT) + u64(cuts + DATA_BYTES)
    for _ in range(PARAMS_LIMIT):
        if at == end:
            return 1
        behind = _find_param_end(at, end)
        if be16(at) == KEY_ECH and _add_cut(cuts, at, behind - at) == 0:
            return 0
        if be16(at) == KEY_MANDATORY and _cut_mandatory(cuts, at, behind) == 0:
            return 0
        at = behind
    return 0


@shared
def find_cuts(p, end, cuts):  # type: ignore[no-untyped-def]
    """Find all that has to go from a response so that it offers no ECH.

    Reads: [p, end). Writes: CUTS_BYTES at `cuts`. Returns: how many pieces; CANNOT when the message or one of its HTTPS or
    SVCB records is malformed, when it is signed, or when there are more than CUT_LIMIT.
    Bounds: RECORDS_LIMIT records.
    """
    put64(cuts + CUT_COUNT, 0)
    at = find_records(p, end, cuts)
    if at == 0:
        return CANNOT
    for _ in range(RECORDS_LIMIT + 1):
        at = find_record(at, end, p, cuts)
        if at == 0:
            return u64(cuts + CUT_COUNT)
        if at < 0 or _is_signature(cuts) or _cut_record(cuts) == 0:
            return CANNOT
    return CANNOT


@shared
def _find_shift(cuts, at):  # type: ignore[no-untyped-def]
    """How many bytes are cut out before `at`, which lies in no cut or behind the last byte of one. Bounds: CUT_LIMIT."""
    shift = 0
    for number in range(u64(cuts + CUT_COUNT)):
        cut = cuts + CUTS + number * CUT_BYTES
        if u64(cut) >= at:
            break
        shift += u64(cut + 8)
    return shift


@shared
def _is_cut(cuts, at):  # type: ignore[no-untyped-def]
    """Is the byte at `at` one of those that are cut out? Bounds: CUT_LIMIT."""
    for number in range(u64(cuts + CUT_COUNT)):
        cut = cuts + CUTS + number * CUT_BYTES
        if at >= u64(cut) and at < u64(cut) + u64(cut + 8):
            return True
    return False


@shared
def _mend_name(out, p, end, at, cuts):  # type: ignore[no-untyped-def]
    """Write the pointer anew that ends the name at `at`, if one does.

    Reads: [at, end). Writes: two bytes of `out`. Returns: the place behind the name; 0 when it is cut off or leads into
    what was cut out. Bounds: NAME_STEPS_LIMIT labels.
    """
    for _ in range(NAME_STEPS_LIMIT):
        if at >= end or (u8(at) > LABEL_LIMIT and (u8(at) < POINTER or at + 2 > end)):
            return 0
        if u8(at) == 0:
            return at + 1
        if u8(at) >= POINTER:
            target = p + (be16(at) & POINTER_MASK)
            if _is_cut(cuts, target):
                return 0
            putbe16(out + (at - p) - _find_shift(cuts, at), POINTER << 8 | (target - p - _find_shift(cuts, target)))
            return at + 2
        at += 1 + u8(at)
    return 0


@shared
def find_data_names(kind):  # type: ignore[no-untyped-def]
    """Where the data of a record of this type may hold compressed names.

    Returns: bytes before the first name * 4 + how many names; 0 for none. Source: RFC 1035 3.3, RFC 3597 4 (which wants
    old servers' compression understood), RFC 2782 for SRV, as multicast DNS compresses it; HTTPS and SVCB: see above.
    """
    if kind == SOA or kind == 14 or kind == 17:  # MINFO, RP
        return 2
    if kind == 15 or kind == 18 or kind == 21 or kind == 36 or kind == HTTPS or kind == SVCB:  # MX, AFSDB, RT, KX
        return 2 * 4 + 1
    if kind == 26:  # PX
        return 2 * 4 + 2
    if kind == 33:  # SRV
        return 6 * 4 + 1
    if kind == SIG or kind == 46:  # RRSIG
        return 18 * 4 + 1
    if (kind >= 2 and kind <= 5) or (kind >= 7 and kind <= 9) or kind == 12 or kind == 30 or kind == 39 or kind == 47:
        return 1  # NS, MD, MF, CNAME; MB, MG, MR; PTR; NXT; DNAME; NSEC
    return 0


@shared
def _mend_lengths(out, p, cuts):  # type: ignore[no-untyped-def]
    """Write the lengths in the copy of a record with service parameters: the data's, and that of each parameter left.

    Returns: 0. Bounds: PARAMS_LIMIT.
    """
    end = u64(cuts + DATA_AT) + u64(cuts + DATA_BYTES)
    shift = _find_shift(cuts, u64(cuts + DATA_AT))
    place = out + (u64(cuts + DATA_AT) - p) - shift
    putbe16(place - 2, u64(cuts + DATA_BYTES) - (_find_shift(cuts, end) - shift))
    at = _find_params(cuts)
    for _ in range(PARAMS_LIMIT):
        if at == end:
            break
        behind = _find_param_end(at, end)
        if not _is_cut(cuts, at):
            shift = _find_shift(cuts, at)
            putbe16(out + (at + 2 - p) - shift, be16(at + 2) - (_find_shift(cuts, behind) - shift))
        at = behind
    return 0


@shared
def _mend_record(out, p, end, cuts):  # type: ignore[no-untyped-def]
    """Make the copy of the record at hand right: its pointers and its lengths.

    Returns: 1; 0 when its data is malformed. Bounds: three names, PARAMS_LIMIT.
    """
    if _mend_name(out, p, end, u64(cuts + OWNER_AT), cuts) == 0:
        return 0
    names = find_data_names(u64(cuts + TYPE))
    place = u64(cuts + DATA_AT) + (names >> 2)
    for _ in range(names & 3):
        place = _mend_name(out, p, u64(cuts + DATA_AT) + u64(cuts + DATA_BYTES), place, cuts)
        if place == 0:
            return 0
    if _is_service(cuts):
        _mend_lengths(out, p, cuts)
    return 1


@shared
def _reads_same(at, p, end, copy_at, out, out_end):  # type: ignore[no-untyped-def]
    """Does the name at `at` end, and does the one at `copy_at` of the copy read the same?

    Reads: both messages. Bounds: NAME_STEPS_LIMIT labels and pointers.
    """
    for _ in range(NAME_STEPS_LIMIT):
        if at + 1 > end or copy_at + 1 > out_end:
            return False
        size = u8(at)
        if size == 0:
            return u8(copy_at) == 0
        if size >= POINTER:
            if u8(copy_at) < POINTER or at + 2 > end or copy_at + 2 > out_end:
                return False
            at, copy_at = p + (be16(at) & POINTER_MASK), out + (be16(copy_at) & POINTER_MASK)
        else:
            if u8(copy_at) != size or size > LABEL_LIMIT or at + 1 + size > end or copy_at + 1 + size > out_end:
                return False
            if not same(at + 1, copy_at + 1, size):
                return False
            at, copy_at = at + 1 + size, copy_at + 1 + size
    return False


@shared
def _keeps_names(out, size, p, end, cuts):  # type: ignore[no-untyped-def]
    """Do all names of records read in the copy as before? A pointer may lead to bytes that are no name's, of which some
    were cut out or written anew.

    Bounds: RECORDS_LIMIT records with three names each.
    """
    at = find_records(p, end, cuts)
    for _ in range(RECORDS_LIMIT + 1):
        at = find_record(at, end, p, cuts)
        if at == 0:
            return True
        names = find_data_names(u64(cuts + TYPE))
        place = u64(cuts + OWNER_AT)
        for number in range(1 + (names & 3)):
            copy_at = out + (place - p) - _find_shift(cuts, place)
            if not _reads_same(place, p, end, copy_at, out, out + size):
                return False
            place = u64(cuts + DATA_AT) + (names >> 2) if number == 0 else skip_name(place, end)
    return False


@shared
def remove_ech(out, p, end, cuts):  # type: ignore[no-untyped-def]
    """Write a response without its ech parameters.

    Reads: [p, end). Writes: end - p bytes at `out` at most, which must not overlap it; CUTS_BYTES at `cuts` (scratch).
    Returns: the size; 0 when there is none, and nothing was written; CANNOT as `find_cuts`, when a name leads into what is
        cut out or would read otherwise, or when a name in a record's data is malformed: pass it, refuse it or
        `neutralise_ech`.
    Bounds: RECORDS_LIMIT records with three names each, twice; CUT_LIMIT cuts for each name.
    """
    count = find_cuts(p, end, cuts)
    if count <= 0:
        return count
    at = p
    size = 0
    for number in range(count):
        cut = cuts + CUTS + number * CUT_BYTES
        move(out + size, at, u64(cut) - at)
        size += u64(cut) - at
        at = u64(cut) + u64(cut + 8)
    move(out + size, at, end - at)
    size += end - at
    at = find_records(p, end, cuts)
    for _ in range(RECORDS_LIMIT + 1):
        at = find_record(at, end, p, cuts)
        if at == 0:
            return size if _keeps_names(out, size, p, end, cuts) else CANNOT
        if _mend_record(out, p, end, cuts) == 0:
            return CANNOT
    return CANNOT
