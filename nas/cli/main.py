"""The `nas` command: collects the command groups and turns errors into exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings
from io import TextIOWrapper
from typing import Annotated

import typer

import nas
from nas.cli.common import EXIT_DONE, EXIT_INTERRUPTED, EXIT_OUR_FAULT, EXIT_USER, emit, print_error
from nas.errors import NasError
from nas.spaces import own_code

# Part of `nas --help` -> module of its commands -> their words: a command is the function of its word, with an
# underscore behind it where the word means something else already. Modules import only typer at module level.
COMMANDS: dict[str, dict[str, tuple[str, ...]]] = {
    "Begin": {"project": ("init", "doctor")},
    "Studies": {
        "run": ("run", "worker", "status"),
        "control": ("stop", "pause", "resume", "note"),
        "report": ("report", "compare"),
        "dashboard": ("dashboard",),
        "studies": ("list", "delete", "rename", "retry"),
        "rules": ("show", "export", "apply", "admits", "check", "schema"),
    },
    "One network by hand": {name: (name,) for name in ("explain", "train", "evaluate", "extract", "export")},
    "Spaces, blocks, images, devices, databases": {
        "space": ("show", "sites", "size", "sample", "validate", "explain", "schema"),
        "blocks": ("list", "describe", "limit"),
        "data": ("check", "info", "synth", "pack"),
        "latency": ("profile", "show", "bridge"),
        "db": ("info", "upgrade", "check", "export", "import"),
        "project": ("schema",),
    },
}
GROUPS = {
    "studies": "List, delete and rename studies.\n\nExample: nas studies --db sqlite:///nas.db",
    "rules": "Show, export and apply rules.\n\nExample: nas rules show quickstart",
    "space": "Look at a design space.\n\nExample: nas space show quickstart",
    "blocks": "Attention blocks: list them, describe one.\n\nExample: nas blocks list",
    "data": "Look at, draw and pack image sets.\n\nExample: nas data synth data/pedestrians",
    "latency": "Measure what placements cost, here or on a device elsewhere.\n\n"
    "Example: nas latency profile quickstart",
    "db": "Look after a database of studies.\n\nExample: nas db check",
}
"""Modules whose commands stand behind the module's name, and what its help says."""
FIRST_STEPS = """Start with:

  nas init my-project      lay out a folder with search spaces and studies

  nas doctor               see what works on this machine

  nas run studies/quickstart.yaml      search, then read reports/quickstart

Example: nas run studies/quickstart.yaml --profile smoke
"""


def build_app() -> typer.Typer:
    """The whole command tree."""
    app = typer.Typer(
        name="nas",
        help="Placement search for attention in re-identification networks: which block, where, at what cost.",
        epilog=FIRST_STEPS,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for part, modules in COMMANDS.items():
        for name, words in modules.items():
            module = importlib.import_module(f"nas.cli.{name}")
            to = app
            if name in GROUPS:
                to = typer.Typer(help=GROUPS[name], no_args_is_help=not hasattr(module, "alone"))
                app.add_typer(to, name=name, rich_help_panel=part)
            if hasattr(module, "alone"):  # what the group's name alone does
                to.callback(invoke_without_command=True)(module.alone)
            for word in words:
                function = getattr(module, f"{word}_", None) or getattr(module, word)
                to.command(word, rich_help_panel=part if to is app else None)(function)
    return app


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", callback=lambda on: _version(on), is_eager=True),
    ] = False,
    trust: Annotated[
        list[str] | None,
        typer.Option(
            metavar="module:Class", help="Code of your own that databases and checkpoints may name; in any command."
        ),
    ] = None,
) -> None:
    pass


def _take_trust(arguments: list[str]) -> list[str]:
    """The arguments without `--trust NAME`, wherever it stands; what it, and candidates typed here, name is trusted."""
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--trust" or argument.startswith("--trust="):
            name = argument.partition("=")[2] or next(rest, "")
            own_code.trust([name])
        else:
            left.append(argument)
    own_code.trust(own_code.named_in(left))
    return left


def _version(wanted: bool) -> None:
    if wanted:
        emit(f"nas {nas.__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code (0 done, 1 our fault, 2 the user's input)."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        # Without its standalone mode typer hands back the code of `raise typer.Exit(code)`.
        given = _take_trust(sys.argv[1:] if arguments is None else arguments)
        code = build_app()(args=given, prog_name="nas", standalone_mode=False)
        sys.stdout.flush()  # a full disk or a closed pipe behind `>` and `|` shows here
    except NasError as error:
        print_error(error)
        return EXIT_USER
    except BrokenPipeError:
        return _reader_left()
    except SystemExit:  # typer's own way out: the reader of a pipe has left, or words were completed for a shell
        return EXIT_DONE
    except Exception as error:
        return _exit_code(error)
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    if code == EXIT_INTERRUPTED:  # typer catches Ctrl-C itself and hands back its code
        print_error(NasError("interrupted", "run the same command again to go on where it stopped"))
    return code if isinstance(code, int) else EXIT_DONE


def _reader_left() -> int:
    """`nas ... | head` has seen enough: nothing is wrong, and Python must not complain at its end either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_DONE


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
    errno.EDQUOT: "free some space on that disk, then run the same command again",
    errno.EACCES: "you may not read or write there; choose another place or change the permissions",
    errno.EPERM: "you may not read or write there; choose another place or change the permissions",
    errno.EROFS: "that file system is read-only; choose another place",
    errno.ENOENT: "check the path",
    errno.EISDIR: "a file is needed there, not a folder",
    errno.ENOTDIR: "a folder is needed there, not a file",
    errno.EEXIST: "there is something of that name already; choose another",
    errno.EFBIG: "files there may not be that large (`ulimit -f`, or the file system); choose another place",
    errno.EMFILE: "raise the number of files a program may open: `ulimit -n 1024`",
    errno.ENFILE: "the machine has too many files open; end other programs",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "links there lead in a circle; check them",
    errno.EIO: "the disk or the network behind that path fails; check it",
}


def _open_closed_streams() -> None:
    """`nas ... >&-`: what has no reader is dropped, and no file takes the place (and the output) of a closed stream."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def entry_point() -> None:
    """What the installed `nas` script calls."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # names of files need not be text that a terminal can show
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
