"""One cipher's memory for tests, announced to the checked build for good."""

import numpy as np

from penstock.compile.memory import allow
from penstock.request.initial import CIPHER_BYTES, prepare_cipher

ROOM = np.zeros(CIPHER_BYTES, np.uint8)
CIPHER = int(ROOM.ctypes.data)
allow(CIPHER, CIPHER + CIPHER_BYTES)
prepare_cipher(CIPHER)
