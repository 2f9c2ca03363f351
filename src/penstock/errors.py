"""What a person can cure."""


class PenstockError(Exception):
    """The base of every error whose text is whole: what is wrong, where, and the cure. Commands print it as it is."""
