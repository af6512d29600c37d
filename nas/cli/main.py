"""The `nas` command: collects the command groups and turns errors into exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings

import typer

from nas.cli.common import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OUR_FAULT, EXIT_USER, print_error
from nas.errors import NasError

# One module a command group; each has `register(app)`. Only typer is imported at module level there.
COMMAND_MODULES = (
    "run",
    "space",
    "blocks",
    "data",
    "train",
    "evaluate",
    "extract",
    "latency",
    "rules",
    "report",
    "dashboard",
    "export",
    "db",
    "studies",
    "project",
)


def build_app() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="nas",
        help="Placement search for attention in re-identification networks.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMAND_MODULES:
        importlib.import_module(f"nas.cli.{name}").register(app)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code (0 done, 1 our fault, 2 the user's input)."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        # Without its standalone mode typer hands back the code of `raise typer.Exit(code)`.
        code = build_app()(args=arguments, standalone_mode=False)
    except NasError as error:
        print_error(error)
        return EXIT_USER
    except Exception as error:
        return _exit_code(error)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:  # typer catches Ctrl-C itself and hands back its code
        print_error(NasError("interrupted", "run the same command again to go on where it stopped"))
    return code if isinstance(code, int) else EXIT_DONE


def _exit_code(error: Exception) -> int:
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        print_error(NasError("aborted"))
        return EXIT_USER
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # wrong options; typer brings its own copy of click
        error.show()
        return EXIT_USER
    if isinstance(error, OSError) and error.errno in _USER_OS_ERRORS:
        print_error(NasError(f"{error.strerror}: {error.filename or 'a file'}", _USER_OS_ERRORS[error.errno]))
        return EXIT_USER
    if os.environ.get("NAS_DEBUG"):
        raise error
    print_error(NasError(f"internal error, {type(error).__name__}: {error}", "set NAS_DEBUG=1 to see the traceback"))
    return EXIT_OUR_FAULT


_USER_OS_ERRORS = {
    errno.ENOSPC: "free some space on that disk, then run the same command again",
    errno.EACCES: "you may not read or write there; choose another place or change the permissions",
    errno.EROFS: "that file system is read-only; choose another place",
    errno.ENOENT: "check the path",
    errno.EISDIR: "a file is needed there, not a folder",
    errno.ENOTDIR: "a folder is needed there, not a file",
}


def entry_point() -> None:
    """What the installed `nas` script calls."""
    sys.exit(main())
