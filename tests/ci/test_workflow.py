"""The workflow, run here: verdicts, summaries and the one comment, of this attnbench and of a stand-in."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from attnbench.ci.workflow import FILE
from tests.ci import stand_ins
from tests.ci.conftest import SOURCE, Git
from tests.ci.runner import Runner
from tests.program import Cli

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the steps are bash, as on GitHub's runners")
QUICK = ("-a", "T=128", "-a", "setting=forward", "--budget", "6s")


@pytest.fixture
def runner(init: Cli, repository: Path, git: Git, tmp_path: Path) -> Runner:
    """A repository in which `init-ci` was run, with a commit more than `origin/main`."""
    done = init("--impl", "numpy/mine", *SOURCE, *QUICK)
    assert done.code == 0, done.err
    git("add", ".")
    git("commit", "-qm", "checked and measured from now on")
    return Runner(repository, stand_ins.set_up(tmp_path), tmp_path / "runner")


def workflow(runner: Runner) -> str:
    return (runner.checkout / FILE).read_text("utf-8")


@pytest.mark.slow
def test_a_right_kernel_passes_and_its_tables_are_in_the_summary_and_in_one_comment(
    runner: Runner, tmp_path: Path
) -> None:
    stand_ins.ours(tmp_path)
    jobs = runner.run(workflow(runner))
    compared = jobs["kernel"].steps["Compare with the base branch"]
    # The same code; a busy machine may call it slower, or have no time for a pair.
    assert compared in (0, 1, 3, 5), jobs["kernel"].output
    assert jobs["kernel"].steps["Check against the oracle"] == 0
    assert jobs["kernel"].result == ("failure" if compared else "success")
    assert json.loads((tmp_path / "pip.json").read_text()) == ["install", f"attnbench[report] @ {SOURCE[1]}"]
    assert "### attnbench check: passed" in runner.summary
    assert "1 case compared: " in runner.summary
    assert "### attnbench ab: " in runner.summary
    assert "forward B1 H8 T128 D64 float32" in runner.summary
    (comment,) = stand_ins.comments(tmp_path)
    assert comment.startswith("<!-- attnbench init-ci -->\n### attnbench check: passed")
    assert "### attnbench ab: " in comment
    assert "(https://github.example/owner/kernel/actions/runs/7)" in comment


def test_a_wrong_kernel_fails_with_status_1_and_is_not_compared(runner: Runner, tmp_path: Path) -> None:
    stand_ins.ours(tmp_path)
    file = runner.checkout / "mine.py"
    file.write_text(file.read_text("utf-8").replace("call.scale", "call.scale * 1.5"), "utf-8")
    jobs = runner.run(workflow(runner))
    assert jobs["kernel"].result == "failure"
    assert jobs["kernel"].steps == {"Install": 0, "Check against the oracle": 1}
    assert "### attnbench check: failed (exit status 1)" in runner.summary
    assert "WRONG" in runner.summary
    (comment,) = stand_ins.comments(tmp_path)
    assert "failed (exit status 1)" in comment
    assert "attnbench ab" not in comment


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 5])
def test_the_status_of_ab_is_the_verdict(runner: Runner, tmp_path: Path, status: int) -> None:
    stand_ins.stand_in(tmp_path, ab=status)
    job = runner.run(workflow(runner))["kernel"]
    assert job.steps["Compare with the base branch"] == status
    assert job.result == ("failure" if status else "success")
    check, ab = stand_ins.asked(tmp_path)
    assert check == ["check", "numpy/mine", "--impls", "mine.py", "--quiet"]
    assert ab[:7] == ["ab", "origin/main", "HEAD", "--impls", "mine.py", "--impl", "numpy/mine"]
    assert ab[7:14] == [*QUICK, "--inconclusive"]
    assert "--github" in ab
    assert f"### attnbench ab: {'failed (exit status 2)' if status == 2 else 'fine'}\n" in runner.summary
    assert (
        f"### attnbench ab: {'failed (exit status 2)' if status == 2 else 'fine'}\n" in stand_ins.comments(tmp_path)[0]
    )


@pytest.mark.parametrize("command", ["check", "ab"])
def test_what_is_said_as_an_error_is_in_the_summary_and_in_the_comment(
    runner: Runner, tmp_path: Path, command: str
) -> None:
    text = "odd:\n````\n### forged: passed\r</details>\r\n@everyone"
    stand_ins.stand_in(tmp_path, check=2 if command == "check" else 0, ab=2, text=text)
    job = runner.run(workflow(runner))["kernel"]
    assert list(job.steps.values())[-1] == 2
    for page in (runner.summary, *stand_ins.comments(tmp_path)):
        assert f"### attnbench {command}: failed (exit status 2)\n" in page
        assert f"    {command} complains: odd:\n    ````\n    ### forged: passed\n    </details>\n" in page
        assert "\r" not in page
        assert not re.search(r"^(`|@|### forged)", page, re.MULTILINE)


def test_a_pull_request_to_another_branch_is_compared_with_that_one(runner: Runner, git: Git, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path)
    runner.target = "release/1+$(>x)"
    git("update-ref", f"refs/remotes/origin/{runner.target}", "HEAD~1")
    assert runner.run(workflow(runner))["kernel"].result == "success"
    assert stand_ins.asked(tmp_path)[1][:3] == ["ab", f"origin/{runner.target}", "HEAD"]
    assert not (runner.checkout / "x").exists()


def test_an_implementation_that_is_new_in_its_file_is_not_compared_and_the_others_are(
    runner: Runner, init: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ["numpy/mine", "numpy/min"]
    monkeypatch.setattr("attnbench.ci.kernel.found_in", lambda files: dict.fromkeys(names, tuple(files)))
    assert init(*SOURCE, "--force").code == 0
    stand_ins.stand_in(tmp_path, lists=True)
    job = runner.run(workflow(runner))["kernel"]
    assert job.result == "success", job.output
    _, ab = stand_ins.asked(tmp_path)
    assert ab[3:8] == ["--impls", "mine.py", "--impl", "numpy/mine", "--budget"]
    for page in (runner.summary, stand_ins.comments(tmp_path)[0]):
        assert page.count("Not compared, since `origin/main` does not have it yet: `numpy/min`\n") == 1
        assert "### attnbench ab: fine" in page
    assert not (runner.scratch / "temp" / "base").exists()


def test_a_file_that_had_no_implementation_is_compared_with_nothing(runner: Runner, git: Git, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path, lists=True)
    (runner.checkout / "mine.py").write_text("def attend(): ...\n", "utf-8")
    git("commit", "-qam", "before it was an implementation")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    job = runner.run(workflow(runner))["kernel"]
    assert job.result == "success", job.output
    assert "Not compared, since `origin/main` does not have it yet: `numpy/mine`\n" in runner.summary
    assert "\n    attnbench: --impls mine.py: no implementation in it" in runner.summary


def test_a_base_that_cannot_be_asked_is_no_base_without_an_implementation(runner: Runner, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path)
    stand_in = tmp_path / "bin" / "attnbench"
    stand_in.write_text(stand_in.read_text("utf-8").replace("sys.exit()", "sys.exit('out of memory')"), "utf-8")
    job = runner.run(workflow(runner))["kernel"]
    assert (job.result, "out of memory" in job.output) == ("failure", True)


def test_a_second_run_changes_the_same_comment_and_nobody_else_s(runner: Runner, tmp_path: Path) -> None:
    theirs = [
        {"id": 1, "user": {"login": "someone"}, "body": "<!-- attnbench init-ci --> mine, not the workflow's"},
        {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "of another workflow: <!-- attnbench init-ci -->"},
    ]
    (tmp_path / "comments.json").write_text(json.dumps(theirs))
    for text in ("first", "second"):
        stand_ins.stand_in(tmp_path, text=text)
        assert runner.run(workflow(runner))["comment"].result == "success"
    *others, ours = stand_ins.comments(tmp_path)
    assert others == [one["body"] for one in theirs]
    assert "### attnbench ab: second" in ours
    assert "first" not in ours


def test_what_is_too_long_for_a_comment_is_told_where_it_stands(runner: Runner, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path, text="é" * 40_000)
    assert runner.run(workflow(runner))["comment"].result == "success"
    (comment,) = stand_ins.comments(tmp_path)
    assert comment.startswith("<!-- attnbench init-ci -->\nThe tables of attnbench are too long")
    assert "é" * 40_000 in runner.summary


def test_a_pull_request_from_a_fork_has_a_summary_and_no_comment(runner: Runner, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path)
    runner.fork = True
    jobs = runner.run(workflow(runner))
    assert (jobs["kernel"].result, jobs["comment"].result) == ("success", "skipped")
    assert "### attnbench ab: fine" in runner.summary


def test_a_push_to_the_base_branch_is_checked_and_compared_with_nothing(runner: Runner, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path)
    runner.event = "push"
    jobs = runner.run(workflow(runner))
    assert (jobs["kernel"].result, jobs["comment"].result) == ("success", "skipped")
    assert [words[0] for words in stand_ins.asked(tmp_path)] == ["check"]


def test_a_kernel_that_the_base_branch_does_not_have_yet_is_compared_with_nothing(
    runner: Runner, git: Git, tmp_path: Path
) -> None:
    stand_ins.stand_in(tmp_path)
    empty = git("hash-object", "-t", "tree", "--stdin", "-w")
    git("update-ref", "refs/remotes/origin/main", git("commit-tree", empty, "-m", "nothing"))
    jobs = runner.run(workflow(runner))
    assert jobs["kernel"].result == "success"
    for page in (runner.summary, stand_ins.comments(tmp_path)[0]):
        assert "### attnbench ab: nothing to compare\n" in page
        assert "\nNot compared, since `origin/main` does not have it yet: `numpy/mine`\n" in page
    assert [words[0] for words in stand_ins.asked(tmp_path)] == ["check"]


def test_a_kernel_that_is_a_whole_repository_is_compared(runner: Runner, init: Cli, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path)
    assert init("--impls", ".", "--impls", "./", *SOURCE, "--force").code == 0
    assert runner.run(workflow(runner))["kernel"].result == "success"
    check, ab = stand_ins.asked(tmp_path)
    assert check == ["check", "numpy/mine", "--impls", ".", "--quiet"]
    assert ab[0] == "ab"


def test_a_base_branch_that_is_gone_fails(runner: Runner, git: Git, tmp_path: Path) -> None:
    stand_ins.stand_in(tmp_path)
    git("update-ref", "-d", "refs/remotes/origin/main")
    job = runner.run(workflow(runner))["kernel"]
    assert job.steps["Compare with the base branch"] == 2
    assert "there is no branch origin/main" in job.output


def test_what_could_not_be_installed_is_a_comment_too(runner: Runner, tmp_path: Path) -> None:
    stand_ins.program(tmp_path / "bin", "pip", "raise SystemExit(1)\n")
    jobs = runner.run(workflow(runner))
    assert jobs["kernel"].steps == {"Install": 1}
    assert "nothing was checked" in stand_ins.comments(tmp_path)[0]


def test_nothing_may_write_but_the_job_that_runs_nothing_of_the_pull_request(runner: Runner) -> None:
    text = workflow(runner)
    parsed = yaml.safe_load(text)
    triggers = parsed[True]  # to YAML 1.1 the key `on` is a yes
    assert set(triggers) == {"pull_request", "push"}
    assert "pull_request_target" not in text
    assert parsed["permissions"] == {"contents": "read"}
    assert "permissions" not in parsed["jobs"]["kernel"]
    comment = parsed["jobs"]["comment"]
    assert comment["permissions"] == {"pull-requests": "write"}
    assert [step.get("uses", "").partition("@")[0] for step in comment["steps"]] == ["actions/download-artifact", ""]
    checkout = parsed["jobs"]["kernel"]["steps"][0]
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}


def test_a_push_to_the_base_branch_is_not_ended_by_a_later_one(runner: Runner) -> None:
    concurrency = yaml.safe_load(workflow(runner))["concurrency"]
    assert concurrency["group"].endswith("${{ github.event.pull_request.number || github.run_id }}")


def test_every_action_is_pinned_to_a_commit_and_says_its_version(runner: Runner) -> None:
    used = re.findall(r"uses: (.*)", workflow(runner))
    assert len(used) == 4
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in used)
