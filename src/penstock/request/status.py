"""What a reader says of the bytes it was given: one small number, the same for every protocol."""

NEED_MORE = 0
"""These bytes may become a request; nothing is decided before more arrive."""
COMPLETE = 1
"""A whole request (or chunk header) was read; the state says what it asks for and where it ends."""
NOT_MINE = 2
"""No server of this protocol takes these bytes for a request."""
BAD = 3
"""Some server takes them for a request, but servers differ in how they read it, or none should get it: refuse."""
