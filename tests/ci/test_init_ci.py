"""``attnbench init-ci`` as a person uses it: what it understands, what it refuses, and where it writes."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from attnbench import errors
from attnbench.ci.kernel import WantedCi, understood
from attnbench.ci.workflow import FILE
from attnbench.errors import UsageError
from tests.ci import stand_ins
from tests.ci.conftest import KERNEL, SOURCE, Git
from tests.ci.runner import Runner
from tests.program import Cli

CUT = ("--only", "workflow", *SOURCE)


def steps(root: Path) -> dict[str, str]:
    """The scripts of the workflow by the names of their steps."""
    parsed = yaml.safe_load((root / FILE).read_text("utf-8"))
    return {step["name"]: step["run"] for step in parsed["jobs"]["kernel"]["steps"] if "run" in step}


def test_what_a_file_has_is_found_and_named(cli: Cli, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    (repository / "mine.py").write_text(KERNEL + KERNEL.replace("numpy/mine", "jax/mine"), "utf-8")
    done = cli("init-ci", "--impls", "mine.py", *SOURCE, "--print", "--json")
    told = done.document
    assert told["implementations"] == ["numpy/mine", "jax/mine"]
    assert not told["written"]
    assert "attnbench[report,jax] @ git+https" in told["files"][0]["text"]
    assert "for impl in numpy/mine jax/mine; do" in told["files"][0]["text"]
    assert "--impl numpy/mine --impl jax/mine" in told["files"][1]["text"]
    assert not (repository / ".github").exists()
    done = cli("init-ci", "--impls", "mine.py", "--impl", "numpy/mein", *SOURCE)
    assert done.code == 2
    assert "did you mean 'numpy/mine'?" in done.err


def test_a_workflow_that_is_there_is_replaced_by_force_alone(init: Cli, repository: Path) -> None:
    (repository / FILE).parent.mkdir(parents=True)
    (repository / FILE).write_text("name: mine\n", "utf-8")
    done = init(*SOURCE)
    assert done.code == 2
    assert "is there and says something else" in done.err
    assert "--force" in done.err
    assert (repository / FILE).read_text("utf-8") == "name: mine\n"
    assert not (repository / "tox.ini").exists(), "all of it or nothing"
    assert "name: attnbench" in init(*SOURCE, "--dry-run").out
    assert (repository / FILE).read_text("utf-8") == "name: mine\n"
    assert init(*SOURCE, "--force").code == 0
    assert "name: attnbench" in (repository / FILE).read_text("utf-8")


def test_a_folder_within_a_repository_writes_at_its_top_with_paths_from_there(
    init: Cli, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = repository / "packages" / "fast attention"
    inner.mkdir(parents=True)
    (inner / "my kernel.py").write_text(KERNEL, "utf-8")
    monkeypatch.chdir(inner)
    done = init("--impls", "my kernel.py", *CUT)
    assert done.code == 0, done.err
    assert "is not in git yet" in done.err
    scripts = steps(repository)
    assert "--impls 'packages/fast attention/my kernel.py'" in scripts["Check against the oracle"]
    assert "for file in 'packages/fast attention/my kernel.py'; do" in scripts["Compare with the base branch"]
    assert not (inner / ".github").exists()
    assert init("--impls", ".", *CUT, "--force").code == 0
    assert "--impls 'packages/fast attention' --quiet 2>&1 | tee" in steps(repository)["Check against the oracle"]


def test_the_base_is_that_of_origin_else_main(init: Cli, repository: Path, git: Git) -> None:
    git("branch", "-m", "main", "master")
    git("update-ref", "-d", "refs/remotes/origin/main")
    done = init(*CUT)
    assert done.code == 2
    assert "has no branch 'main'; there are master; type --base master" in done.err
    assert init(*CUT, "--base", "master").code == 0
    assert 'branches: ["master"]' in (repository / FILE).read_text("utf-8")
    git("update-ref", "refs/remotes/origin/trunk/1", "HEAD")
    git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk/1")
    git("checkout", "-q", "--detach")
    assert init(*CUT, "--force").code == 0
    assert 'branches: ["trunk/1"]' in (repository / FILE).read_text("utf-8")
    assert "did you mean 'master'" in init(*CUT, "--base", "mastr").err


def test_a_repository_without_a_commit_compares_with_its_branch_to_come(init: Cli, place: Path, git: Git) -> None:
    git("init", "-qb", "main")
    (place / "mine.py").write_text(KERNEL, "utf-8")
    done = init(*CUT)
    assert done.code == 0, done.err
    assert "mine.py is not in git yet: git add mine.py" in done.err


def test_without_git_the_top_must_be_named(init: Cli, place: Path) -> None:
    (place / "mine.py").write_text(KERNEL, "utf-8")
    done = init(*SOURCE)
    assert done.code == 2
    assert "git init" in done.err
    assert "-o DIR" in done.err
    done = init(*SOURCE, "-o", ".")
    assert done.code == 0
    assert "is in no git repository yet" in done.err
    assert (place / FILE).is_file()


def test_a_repository_that_git_cannot_read_is_no_folder_without_one(init: Cli, place: Path) -> None:
    (place / "mine.py").write_text(KERNEL, "utf-8")
    (place / ".git").write_text("gitdir: nowhere\n", "utf-8")
    for words in ((), ("-o", ".")):
        done = init(*SOURCE, *words)
        assert done.code == 2
        assert "git cannot read the repository" in done.err
        assert "status" in done.err
    assert not (place / ".github").exists()


def test_what_git_ignores_or_does_not_have_is_refused(init: Cli, repository: Path, tmp_path: Path) -> None:
    (repository / ".gitignore").write_text("local.py\n", "utf-8")
    (repository / "local.py").write_text(KERNEL, "utf-8")
    (tmp_path / "outside.py").write_text(KERNEL, "utf-8")
    (repository / "inner").mkdir()
    for words, said in (
        (("--impls", "local.py"), "git check-ignore -v local.py"),
        (("--impls", "../outside.py"), "outside of the repository"),
        (("--impls", "missing.py"), "no such file"),
        (("-o", "inner"), "GitHub reads workflows at its top alone"),
        (("-o", "nowhere"), "there is no such folder"),
    ):
        done = init(*words, *SOURCE)
        assert done.code == 2
        assert said in done.err
        assert len(done.err.splitlines()) == 1
    assert not (repository / ".github").exists()


WRONG = [
    (("--python", "3.10"), "attnbench needs >=3.11"),
    (("--python", "latest"), "a version such as 3.12"),
    (("--budget", "soon"), "90s, 10m or 1h"),
    (("--suite", "smoek"), "did you mean 'smoke'?"),
    (("--suite", "gradients"), "is observed, not timed"),
    (("-a", "lenght=1"), "has no axis 'lenght'"),
    (("--only", "toxx"), "did you mean 'tox'?"),
    (("--install", "it's"), "cannot be taken apart"),
    (("--install", " "), "got nothing"),
    (("--install", "x #y"), "'#' in it"),
    (("--install", "${{ secrets.TOKEN }}"), "'{' and '}' in it"),
    (("--attnbench", "../attnbench"), "is an address or versions"),
    (("--attnbench", "git+https://me:secret@github.com/OWNER/attnbench"), "a name or a password"),
    (("--attnbench", ""), "installed from a folder of this machine"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_is_wrong_is_one_clear_line_and_nothing_is_written(
    init: Cli, repository: Path, words: tuple[str, ...], said: str
) -> None:
    done = init(*words, *(() if "--attnbench" in words else SOURCE))
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert sorted(path.name for path in repository.iterdir()) == [".git", "mine.py"]


@pytest.mark.parametrize("name", ["a#b.py", "{x}.py", "${{ github.token }}.py", "line\nbreak.py", "a\\b.py"])
def test_a_name_that_github_or_tox_would_read_is_refused(init: Cli, repository: Path, name: str) -> None:
    (repository / name).write_text(KERNEL, "utf-8")
    done = init("--impls", name, *SOURCE)
    assert done.code == 2
    assert "rename it" in done.err
    assert not (repository / ".github").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the steps are bash, as on GitHub's runners")
@pytest.mark.parametrize("name", ['it\'s "mine".py', "$(touch x) `y`.py", "größe; rm -rf.py", "-r.py"])
def test_a_name_that_a_shell_would_read_is_quoted(
    init: Cli, repository: Path, git: Git, tmp_path: Path, name: str
) -> None:
    (repository / name).write_text(KERNEL, "utf-8")
    assert init("--impls", name, *CUT).code == 0
    git("add", ".")
    git("commit", "-qm", "a name")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    stand_ins.stand_in(tmp_path)
    runner = Runner(repository, stand_ins.set_up(tmp_path), tmp_path / "runner")
    assert runner.run((repository / FILE).read_text("utf-8"))["kernel"].result == "success"
    check, ab = stand_ins.asked(tmp_path)
    assert (check[3], ab[4]) == (name, name)
    assert not (repository / "x").exists()


@pytest.mark.parametrize(
    ("branch", "pattern"),
    [("c++", r"c\+\+"), ("!odd", r"\!odd"), ("v1!", "v1!"), ("größe/1.x", "größe/1.x"), ('"main"', '"main"')],
)
def test_a_branch_that_github_would_read_as_a_pattern_matches_itself(
    init: Cli, repository: Path, git: Git, branch: str, pattern: str
) -> None:
    git("update-ref", f"refs/heads/{branch}", "HEAD")
    assert init(*CUT, "--base", branch).code == 0
    assert yaml.safe_load((repository / FILE).read_text("utf-8"))[True]["push"]["branches"] == [pattern]


def test_what_fails_halfway_is_taken_back(init: Cli, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "tox.ini":
            msg = "the disk is full"
            raise UsageError(msg)
        path.write_bytes(content)

    monkeypatch.setattr("attnbench.ci.files.write_whole", full)
    done = init(*SOURCE)
    assert (done.code, "the disk is full" in done.err) == (2, True)
    assert not (repository / ".github").exists()
    (repository / FILE).parent.mkdir(parents=True)
    (repository / FILE).write_text("name: mine\n", "utf-8")
    assert init(*SOURCE, "--force").code == 2
    assert (repository / FILE).read_text("utf-8") == "name: mine\n"


@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there")
@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        (str(FILE), "gone.yml", "nothing is there"),
        ("tox.ini", "gone.ini", "nothing is there"),
        ("tox.ini", "tox.ini", "nothing is there"),
        ("tox.ini", "../shared.ini", "leads out of the repository"),
        (".github", "../shared", "leads out of the repository"),
    ],
)
def test_a_link_is_not_replaced_by_a_file(init: Cli, repository: Path, name: str, target: str, said: str) -> None:
    (repository.parent / "shared").mkdir()
    (repository.parent / "shared.ini").write_text("[tox]\n", "utf-8")
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).symlink_to(target)
    done = init(*SOURCE, "--force")
    assert done.code == 2
    assert said in done.err
    assert str((repository / name).readlink()) == target
    assert (repository.parent / "shared.ini").read_text("utf-8") == "[tox]\n"
    assert not list((repository.parent / "shared").iterdir())
    assert {".github", "tox.ini"} - {name.partition("/")[0]} & {path.name for path in repository.iterdir()} == set()


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ({}, f"=={version('attnbench')}"),
        ({"url": "file:///home/me/attnbench", "dir_info": {"editable": True}}, None),
        ({"url": "https://example.org/attnbench.whl", "archive_info": {}}, "https://example.org/attnbench.whl"),
        (
            {
                "url": "https://example.org/attnbench",
                "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "v1"},
            },
            "git+https://example.org/attnbench@abc",
        ),
    ],
)
def test_where_attnbench_came_from(
    origin: dict[str, object], source: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_origin", lambda: origin)
    assert errors.installed_from() == source


@pytest.mark.parametrize(
    ("source", "requirement"),
    [("==0.1.0", "[report]==0.1.0"), ("attnbench>=0.1,<1", "[report]>=0.1,<1"), (SOURCE[1], f"[report] @ {SOURCE[1]}")],
)
def test_what_pip_is_asked(repository: Path, monkeypatch: pytest.MonkeyPatch, source: str, requirement: str) -> None:
    monkeypatch.setattr("attnbench.ci.kernel.found_in", lambda files: {"numpy/mine": tuple(files)})
    assert understood(WantedCi([repository / "mine.py"], source=source)).requirement == f"attnbench{requirement}"


def test_without_a_kernel_it_says_what_to_type(cli: Cli) -> None:
    done = cli("init-ci", "--json")
    assert done.code == 2
    assert "attnbench init-ci --impls mine.py" in done.err
    assert json.loads(done.out)["exit_code"] == 2
