"""The one exception tree. Every message says what was got, what was expected and the remedy.

CrimefaceError                      exit code 1: our fault, or the machine's
├── InputError (ValueError)         exit code 2: what was given can't be used
│   ├── ShapeError                  an array of the wrong shape, type or content
│   ├── ImageError                  not an image, truncated, too small, too large
│   ├── NoFaceError                 no face where one is needed
│   ├── SchemaError                 a table lacks a column or holds an impossible value
│   └── ConfigError                 an unknown, missing or ill-typed parameter
├── NotFoundError (KeyError)        exit code 2: no such record, object, model or run
├── MissingBackendError (ImportError)      exit code 2: an optional part is not installed
├── MissingArtifactError (FileNotFoundError) exit code 2: weights or data are not on this machine
├── RefusedError (PermissionError)  exit code 3: policy says no
└── IntegrityError                  exit code 1: stored bytes are not what was written
"""

from __future__ import annotations

import textwrap


class CrimefaceError(Exception):
    """Root of all errors raised on purpose by this library."""

    exit_code = 1

    def __str__(self) -> str:  # KeyError would show its message in quotes
        return str(self.args[0]) if self.args else self.__class__.__name__

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: one sentence for what the user can mend, the traceback for what is our fault.

        After ``%xmode Verbose`` (or another mode that is not IPython's default) a notebook shows the traceback always.
        """
        from IPython import get_ipython

        shell = get_ipython()
        if shell is None or (self.exit_code > 1 and shell.InteractiveTB.mode == "Context"):
            sentence = f"{type(self).__name__}: {self}"  # JupyterLab breaks long lines inside of words
            return [textwrap.fill(sentence, 88, break_long_words=False, break_on_hyphens=False)]
        lines: list[str] = shell.InteractiveTB.structured_traceback(type(self), self, self.__traceback__, tb_offset=1)
        return lines


class InputError(CrimefaceError, ValueError):
    """What was given can't be used."""

    exit_code = 2


class ShapeError(InputError):
    """An array of the wrong shape, type or content."""


class ImageError(InputError):
    """Not an image, truncated, too small or too large."""


class NoFaceError(InputError):
    """No face was found where one is needed."""


class SchemaError(InputError):
    """A table lacks a column or holds an impossible value."""


class ConfigError(InputError):
    """An unknown, missing or ill-typed parameter."""


class NotFoundError(CrimefaceError, KeyError):
    """No such record, object, model or run."""

    exit_code = 2


class MissingBackendError(CrimefaceError, ImportError):
    """An optional part is not installed."""

    exit_code = 2


class MissingArtifactError(CrimefaceError, FileNotFoundError):
    """Weights or data are not on this machine."""

    exit_code = 2


class RefusedError(CrimefaceError, PermissionError):
    """Policy says no."""

    exit_code = 3


class IntegrityError(CrimefaceError):
    """Stored bytes are not what was written: tampering, corruption or a wrong key."""
