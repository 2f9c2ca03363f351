"""AES-128-GCM, SHA-256 and HKDF as compiled code, by the processor's own instructions or without them."""
