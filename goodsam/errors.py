"""The one kind of error that is the user's to mend: a sentence, shown without a traceback."""


class GoodSAMError(Exception):
    """What is wrong, where (file and value), and what would be right, in one sentence."""


class UnreadableImageError(GoodSAMError):
    """One input image cannot be used; a run leaves it out, says so, and goes on."""


def first_line(error: BaseException) -> str:
    """What another library says, cut to one line of at most 300 characters without a final full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
