"""Programs in the place of those on a runner: `pip` that installs nothing, `gh` that keeps comments, `attnbench`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from sysconfig import get_path
from textwrap import dedent

# As `gh api` is called by us: a GET with a filter of jq, a POST of a body, or a PATCH of one.
GH = """
    import json, sys
    from pathlib import Path

    sys.path.append(PACKAGES)
    kept = Path(KEPT)
    comments = json.loads(kept.read_text("utf-8"))
    words = sys.argv[2:]
    fields = dict(zip(words, words[1:]))
    body = fields.get("-F", "").removeprefix("body=@")
    place = next(word for word in words if word.startswith("repos/owner/kernel/issues/"))
    if "--jq" in fields:
        import jq

        assert place.endswith("/issues/3/comments")
        print("\\n".join(str(one) for one in jq.compile(fields["--jq"]).input(comments).all()))
    elif fields.get("--method") == "PATCH":
        number = int(place.rpartition("/")[2])
        next(one for one in comments if one["id"] == number)["body"] = Path(body).read_text("utf-8")
    else:
        assert place.endswith("/issues/3/comments")
        new = {"id": 100 + len(comments), "user": {"login": "github-actions[bot]"}}
        comments.append({**new, "body": Path(body).read_text("utf-8")})
    kept.write_text(json.dumps(comments), "utf-8")
"""
PIP = """
    import json, sys
    from pathlib import Path

    Path(ASKED).write_text(json.dumps(sys.argv[1:]), "utf-8")
"""
# Its exit statuses and what it says are in a file; what it was asked is written into another.
# What is in a file of the base is not asked of the stand-in, but of ours, where LISTS is true.
ATTNBENCH = """
    import json, os, sys
    from pathlib import Path

    if sys.argv[1] == "list":
        if LISTS:
            os.execv(sys.executable, [sys.executable, "-m", "attnbench", *sys.argv[1:]])
        print("numpy/mine  yes")
        sys.exit()
    said = json.loads(Path(SAID).read_text("utf-8"))
    with Path(SAID).with_suffix(".log").open("a", encoding="utf-8") as log:
        log.write(json.dumps(sys.argv[1:]) + "\\n")
    command = sys.argv[1]
    print(f"{command} says: {said['text']}")
    print(f"{command} complains: {said['text']}", file=sys.stderr)
    if command == "ab" and said["ab"] != 2:
        assert sys.argv[sys.argv.index("--inconclusive") + 1] == "pass"
        page = f"### attnbench ab: {said['text']}\\n"
        Path(sys.argv[sys.argv.index("--markdown") + 1]).write_text(page, "utf-8")
        with Path(os.environ["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
            summary.write(page)
    sys.exit(said[command])
"""


def program(folder: Path, name: str, text: str) -> None:
    """A program of Python, which starts without the packages that are installed: that takes a tenth of the time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable} -IS\n{dedent(text)}", "utf-8")
    path.chmod(0o755)


def set_up(folder: Path) -> Path:
    """All of them, in `bin`; comments are in `comments.json`, what pip was asked in `pip.json`."""
    programs, comments = folder / "bin", folder / "comments.json"
    comments.write_text("[]", "utf-8")
    program(programs, "gh", GH.replace("KEPT", repr(str(comments))).replace("PACKAGES", repr(get_path("platlib"))))
    kept = repr(str(folder / "pip.json"))
    program(programs, "pip", PIP.replace("ASKED", kept))
    return programs


def stand_in(folder: Path, *, check: int = 0, ab: int = 0, text: str = "fine", lists: bool = False) -> None:
    """An attnbench that says `text` and ends with these statuses; `lists` asks ours what is in a file."""
    said = folder / "said.json"
    said.write_text(json.dumps({"check": check, "ab": ab, "text": text}), "utf-8")
    text = ATTNBENCH.replace("SAID", repr(str(said))).replace("LISTS", str(lists))
    program(folder / "bin", "attnbench", text)


def ours(folder: Path) -> None:
    """This attnbench, whose check takes a case."""
    quick = 'words = [*sys.argv[1:], *(["--case", "Tq=3 S=5 D=4"] if sys.argv[1] == "check" else [])]\n'
    run = "os.execv(sys.executable, [sys.executable, '-m', 'attnbench', *words])\n"
    program(folder / "bin", "attnbench", f"import os, sys\n{quick}{run}")


def comments(folder: Path) -> list[str]:
    """The comments under the pull request."""
    return [one["body"] for one in json.loads((folder / "comments.json").read_text("utf-8"))]


def asked(folder: Path) -> list[list[str]]:
    """What the stand-in was asked, in order."""
    return [json.loads(line) for line in (folder / "said.log").read_text("utf-8").splitlines()]
