"""Control groups and limits, on a tree of files as the kernel shows them."""

from pathlib import Path

from attnbench.workers.limits import Group, find_groups, free_memory, system_kills


def tree(
    root: Path, *, mount: str = "sys/fs/cgroup", controllers: str = "memory pids", passed_on: str = "memory"
) -> Path:
    """A group ``/a/b`` of this process, in a tree of version 2."""
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text("4:memory:/old\n0::/a/b\n")
    group = root / mount / "a/b"
    group.mkdir(parents=True)
    for folder in (group, group.parent):
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.subtree_control").write_text(passed_on)
    return group


def test_without_version_2_or_a_memory_controller_it_says_so(tmp_path: Path) -> None:
    assert "no control groups of version 2" in find_groups(tmp_path).describe()
    tree(tmp_path, controllers="hugetlb", passed_on="")
    groups = find_groups(tmp_path)
    assert groups.base is None
    assert groups.describe() == "none: no memory controller is delegated to this user"
    assert groups.make(1) is None


def test_a_folder_without_the_files_of_a_group_is_none(tmp_path: Path) -> None:
    group = tree(tmp_path)  # memory.max does not appear in it, since no kernel is behind it
    assert find_groups(tmp_path).base is None
    assert not list(group.glob("attnbench-*"))


def test_kills_are_read_and_a_group_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "group"
    folder.mkdir()
    (folder / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert Group(folder).kills() == 2
    (folder / "memory.events").unlink()
    assert Group(folder).kills() == 0
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "x").mkdir()
    Group(tmp_path / "empty" / "x").end()
    Group(tmp_path / "never").end()


def test_the_systems_own_kills_are_counted_or_unknown(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    assert system_kills(vmstat) is None
    vmstat.write_text("pgfault 1\noom_kill 5\n")
    assert system_kills(vmstat) == 5


def test_free_memory_is_at_most_what_the_container_has_left(tmp_path: Path) -> None:
    whole = free_memory(tmp_path)
    folder = tmp_path / "sys/fs/cgroup"
    folder.mkdir(parents=True)
    (folder / "memory.max").write_text("max\n")
    (folder / "memory.current").write_text("100\n")
    assert 0 < free_memory(tmp_path) <= 2 * whole
    (folder / "memory.max").write_text("1000\n")
    assert free_memory(tmp_path) == 900
