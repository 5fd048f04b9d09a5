"""The one kind of error that is the user's to mend: a sentence, shown without a traceback."""


class GoodSAMError(Exception):
    """What is wrong, where (file and value), and what would be right, in one sentence."""


class UnreadableImageError(GoodSAMError):
    """One input image cannot be used; a run leaves it out, says so, and goes on."""
