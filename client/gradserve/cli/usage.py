"""What a caller can get wrong before anything is sent."""


class UsageError(Exception):
    """Arguments or files that cannot be used; the message says which and why."""
