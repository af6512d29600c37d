"""The tests of the documentation notice what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
from docs_snippets import (
    Runner,
    Snippet,
    check_command,
    check_mention,
    guess_kind,
    nas_commands,
    same,
    sessions,
    snippets,
)

PAGE = """# Title

<!-- snippet: parse: needs a GPU -->
```bash
nas run x.yaml
```

<!-- setup
x = 1
-->

```python
assert x == 1
```

<!-- snippet: study, file studies/a.yaml -->
```yaml
name: a
```
"""


def test_blocks_are_found_with_what_is_said_of_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    shell, setup, python, study = snippets(page)
    assert (shell.language, shell.kind, shell.reason) == ("bash", "parse", "needs a GPU")
    assert (setup.language, setup.text) == ("setup", "x = 1\n")
    assert (python.language, python.kind, python.reason) == ("python", "", "")
    assert (study.kind, study.file) == ("study", "studies/a.yaml")


@pytest.mark.parametrize(
    "snippet",
    [
        Snippet("python", "assert 1 == 2", 1),
        Snippet("python", "from nas import Nothing", 1, "parse", None, "no reason"),
        Snippet("python", "x = 1", 1, "parse"),
        Snippet("console", "$ nas run x.yaml --dry\n", 1, "parse", None, "no reason"),
        Snippet("console", "$ nas space size no_such_space\n", 1),
        Snippet("console", "$ nas space size quickstart --json\n{}\n", 1),
        Snippet("console", "$ make install\n", 1),
        Snippet("yaml", "nothing: known", 1),
        Snippet("yaml", "sede: 1", 1, "part of study"),
        Snippet("yaml", "recipe: {extends: quickstart, epoch: 2}", 1, "part of study"),
        Snippet("yaml", "rules: [{max_block: 1}]", 1, "part of space"),
        Snippet("yaml", "a: 1", 1, "plain"),
        Snippet("", "text", 1),
    ],
)
def test_a_wrong_block_fails(snippet: Snippet, tmp_path: Path) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011
        Runner(tmp_path).run(snippet)


def test_commands_are_found_wherever_they_stand() -> None:
    text = '$ for h in a b; do\n>   ssh $h "cd nas && X=1 nohup nas worker one > log 2>&1 &"\n> done\n'
    text += "srun nas status one  # nas no\n"
    assert list(nas_commands(text)) == [["worker", "one"], ["status", "one"]]
    assert list(nas_commands("nas run a.yaml \\\n  --workers 4")) == [["run", "a.yaml", "--workers", "4"]]


def test_sessions_hold_commands_and_what_they_print() -> None:
    shown = Snippet("console", "$ nas a \\\n> b\nout\n\nmore\n$ nas c\n", 1)
    assert [(" ".join(command.split()), out) for command, out in sessions(shown)] == [
        ("nas a b", "out\n\nmore\n"),
        ("nas c", ""),
    ]


def test_output_is_compared_but_for_what_varies() -> None:
    assert same("a ... c\n", "a b\n c\n", numbers=True)
    assert not same("3 networks", "4 networks", numbers=True)
    assert same("3 networks, 1.5 ms", "44 networks, -0.25 ms", numbers=False)
    assert not same("3 networks", "3 candidates", numbers=False)


def test_options_that_do_not_exist_are_noticed() -> None:
    check_command(["run", "a.yaml", "--profile", "smoke"])
    check_mention(["worker", "STUDY", "--db", "URL"])
    for words in (
        ["run"],
        ["run", "a.yaml", "--profil", "smoke"],
        ["runs", "a.yaml"],
        ["run", "a", "--workers", "many"],
    ):
        with pytest.raises(AssertionError):
            check_command(words)
    with pytest.raises(AssertionError):
        check_mention(["rules", "show", "--loud"])


def test_kinds_are_guessed_by_keys() -> None:
    assert guess_kind({"name": "a", "space": "b", "stages": []}) == "study"
    assert guess_kind({"name": "a", "backbones": [], "blocks": []}) == "space"
    assert guess_kind({"latency": {}}) == "part of study"
    assert guess_kind({"blocks": []}) == "part of space"
    assert guess_kind({"apiVersion": 1}) == ""
