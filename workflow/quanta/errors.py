"""The one error that a user is meant to read."""


class QuantaError(Exception):
    """Bad input, named so that it can be fixed: where, what was found, what was expected, what to do.

    Scripts print it without a stack of frames; the Snakefile turns it into Snakemake's own error.
    """

    def __init__(self, where: str, found: str, expected: str, mend: str) -> None:
        self.where, self.found, self.expected, self.mend = where, found, expected, mend
        super().__init__(f"{where}: {found}\n  expected: {expected}\n  fix:      {mend}")
