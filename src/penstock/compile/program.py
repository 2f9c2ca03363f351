"""A compiled kernel program as plain data: `ebpf` makes it, the cache keeps it, `kernel.bpf` loads it. No compiler here."""

import base64
import json
from dataclasses import asdict, dataclass

# What the 64-bit immediate of a marked load means until the program is loaded: the source register of `ld_imm64`.
MARK_MAP, MARK_MAP_VALUE, MARK_CONSTANT = 1, 2, 7


@dataclass(frozen=True)
class Program:
    """A compiled program: instructions with marked loads, BTF and line information as the kernel wants them."""

    name: str
    code: bytes
    btf: bytes
    line_info: bytes

    def to_json(self) -> str:
        fields = asdict(self)
        return json.dumps({k: v if isinstance(v, str) else base64.b64encode(v).decode() for k, v in fields.items()})

    @classmethod
    def from_json(cls, text: str) -> "Program":
        fields = json.loads(text)
        code, btf, line_info = (base64.b64decode(fields[name]) for name in ("code", "btf", "line_info"))
        return cls(fields["name"], code, btf, line_info)
