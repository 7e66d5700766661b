"""The command line: what each command prints, stores and returns, and what it says to a mistake."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import hpo_fast as hpo
from hpo_fast.cli import COMMANDS, main

SCRIPT = """
import hpo_fast as hpo
space = hpo.Space(
    x=hpo.Float(-1, 1), kind=hpo.Categorical(["a", None]), y=hpo.Float(0, 1).when(kind="a")
)
grid = hpo.Space(n=hpo.Int(1, 3))
number = 7

def objective(trial):
    if trial.number == 2:
        raise ValueError("the third fails")
    return trial["x"] ** 2 + trial.get("y", 0.5)

def two(trial):
    return [trial["x"], -trial["x"]]

def broken(trial):
    raise RuntimeError("always")

def of_grid(trial):
    return trial["n"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # a script's folder is added to it, and its module to sys.modules
    (tmp_path / "script.py").write_text(SCRIPT)
    yield tmp_path
    for name in ("script", "other", "bad"):
        sys.modules.pop(name, None)


def optimize(*more: str, objective: str = "objective", space: str = "space", trials: str = "8") -> int:
    strategy = () if "--strategy" in more else ("--strategy", "random")
    where = ("--space", f"script.py:{space}", "--storage", "study.db", "--trials", trials)
    return main(["optimize", f"script.py:{objective}", *where, *strategy, *more])


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


# ---- optimize and resume ---------------------------------------------------------------------------------------------


def test_optimize_runs_up_to_the_total_and_the_same_command_goes_on(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimize("--seed", "3", trials="5") == 0
    first = [trial.params for trial in hpo.Study.load("study.db").trials]
    assert len(first) == 5
    assert optimize(trials="8") == 0
    assert optimize(trials="8") == 0
    out = capsys.readouterr().out
    study = hpo.Study.load("study.db")
    assert study.seed == 3
    assert [trial.params for trial in study.trials][:5] == first
    assert len(study.trials) == 8
    capsys.readouterr()
    assert optimize(trials="3") == 0  # nothing to do, and no reason to forget the total
    assert error_line(capsys) == "the total of 3 trials is reached, 8 were asked so far; a larger --trials goes on"
    assert study.attrs["total_trials"] == 8
    assert study.trials[2].state is hpo.TrialState.FAILED
    best = study.best_trial
    assert f"study.db: 8 trials, best value {best.value:.6g} (trial {best.number})" in out
    assert study.attrs["objective"] == f"{folder / 'script.py'}:objective"


def test_optimize_uses_the_default_strategy_for_a_new_study_and_the_stored_one_later(folder: Path) -> None:
    command = ["optimize", "script.py:objective", "--space", "script.py:space", "--storage", "study.db", "--trials"]
    assert main([*command, "7"]) == 0
    assert isinstance(hpo.Study.load("study.db").strategy, hpo.BayesianOptimization)
    assert main([*command, "8", "--strategy", "random"]) == 0
    assert main([*command, "9"]) == 0
    assert isinstance(hpo.Study.load("study.db").strategy, hpo.RandomSearch)


def test_optimize_takes_directions_names_and_durability(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize("--direction", "maximize", "--name", "one", "--durability", "process") == 0
    assert optimize("--directions", "minimize", "maximize", "--name", "two", objective="two") == 0
    assert optimize("--directions", "loss=minimize", "gain=maximize", "--name", "three", objective="two") == 0
    assert hpo.Study.load("study.db", "one").directions == ("maximize",)
    assert hpo.Study.load("study.db", "two").directions == ("minimize", "maximize")
    three = hpo.Study.load("study.db", "three")
    assert three.objective_names == ["loss", "gain"]
    assert f"{len(three.pareto_front)} on the Pareto front" in capsys.readouterr().out


def test_optimize_ends_with_the_strategy_or_the_timeout(folder: Path) -> None:
    grid = ["optimize", "script.py:of_grid", "--space", "script.py:grid", "--strategy", "grid", "--storage", "grid.db"]
    assert main(grid) == 0
    assert {trial.value for trial in hpo.Study.load("grid.db").trials} == {1.0, 2.0, 3.0}
    assert optimize("--timeout", "0") == 0
    assert len(hpo.Study.load("study.db").trials) == 0


def test_an_objective_that_always_fails_ends_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize(objective="broken", trials="50") == 1
    assert "RuntimeError: always" in error_line(capsys)
    assert len(hpo.Study.load("study.db").trials) == 5


def test_resume_prints_the_stored_script_and_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize("--seed", "1", trials="4")
    capsys.readouterr()
    assert main(["resume", "study.db", "--trials", "9"]) == 0
    captured = capsys.readouterr()
    assert f"runs {folder / 'script.py'}:objective, up to 9 trials in all" in captured.err
    resumed = [trial.params for trial in hpo.Study.load("study.db").trials]
    os.rename("study.db", "first.db")
    optimize("--seed", "1", trials="9")
    assert resumed == [trial.params for trial in hpo.Study.load("study.db").trials]
    assert main(["resume", "first.db"]) == 0  # nothing is left to do
    assert "the total of 9 trials is reached, 9 were asked so far; a larger --trials goes on" in capsys.readouterr().err


def test_resume_takes_another_script(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hpo.Study(hpo.Space(x=hpo.Float(0, 1)), "random", storage="study.db", seed=0)
    assert main(["resume", "study.db"]) == 2
    assert "SCRIPT.py:objective may be left out when FILE names it" in error_line(capsys)
    shutil.copy("script.py", "other.py")
    assert main(["resume", "study.db", "other.py:objective", "--trials", "2"]) == 0
    assert hpo.Study.load("study.db").attrs == {"objective": f"{folder / 'other.py'}:objective", "total_trials": 2}
    os.remove("other.py")
    capsys.readouterr()
    assert main(["resume", "study.db"]) == 2
    assert f"there is no '{folder / 'other.py'}'" in error_line(capsys)


def test_trials_that_were_added_are_no_part_of_the_total(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize(trials="2")
    study = hpo.Study.load("study.db")
    for x in (0.1, 0.2, 0.3):
        study.add_trial({"x": x, "kind": None}, 1.0)
    study.ask()
    capsys.readouterr()
    assert study.total_trials == 3
    assert main(["resume", "study.db", "--trials", "4"]) == 0
    assert "is reached" not in capsys.readouterr().err
    assert (study.total_trials, len(study.trials)) == (4, 7)


def test_a_total_that_becomes_smaller_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize("--timeout", "0", trials="50")
    capsys.readouterr()
    assert optimize(trials="4") == 0
    assert error_line(capsys) == "the total that resume goes up to was 50, and is 4 from now on"
    assert hpo.Study.load("study.db").attrs["total_trials"] == 4


def test_a_total_of_0_only_makes_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert optimize("--strategy", "grid", objective="of_grid", space="grid", trials="0") == 0
    assert "total_trials" not in hpo.Study.load("study.db").attrs
    capsys.readouterr()
    assert main(["resume", "study.db"]) == 0
    assert ", no limit" in capsys.readouterr().err
    assert len(hpo.Study.load("study.db").trials) == 3
    assert optimize("--name", "other", "--timeout", "0", trials="50") == 0
    assert optimize("--name", "other", trials="0") == 0
    assert hpo.Study.load("study.db", "other").attrs["total_trials"] == 50


@pytest.mark.parametrize(("code", "said"), [("3", "sys.exit(3)"), ("0", "sys.exit(0)"), ("", "sys.exit()")])
def test_an_objective_that_ends_the_process_is_a_failed_run(
    folder: Path, capsys: pytest.CaptureFixture[str], code: str, said: str
) -> None:
    (folder / "other.py").write_text(f"{SCRIPT}\nimport sys\ndef leave(trial):\n    sys.exit({code})\n")
    assert main(changed(objective="other.py:leave")) == 1
    assert f"must not end the process, but it called {said}" in error_line(capsys)
    assert [trial.state for trial in hpo.Study.load("study.db").trials] == [hpo.TrialState.WAITING]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent as a console event there")
def test_ctrl_c_keeps_what_was_told_and_returns_1(folder: Path) -> None:
    (folder / "slow.py").write_text(
        "import time, hpo_fast as hpo\n"
        "space = hpo.Space(x=hpo.Float(0, 1))\n"
        "def objective(trial):\n"
        "    if trial.number == 3:\n"
        "        print('at three', flush=True)\n"
        "        time.sleep(60)\n"
        "    return trial['x']\n"
    )
    command = [sys.executable, "-m", "hpo_fast", "optimize", "slow.py:objective", "--space", "slow.py:space"]
    command += ["--storage", "study.db", "--strategy", "random", "--trials", "9"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell lets what it starts in the background ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "at three\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the same command continues" in err
    assert "Traceback" not in err
    states = [trial.state.name for trial in hpo.Study.load("study.db").trials]
    assert states == ["DONE", "DONE", "DONE", "WAITING"]


# ---- ask, tell and show ----------------------------------------------------------------------------------------------


def ask(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, object]:
    assert main(["ask", "study.db", *more]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    answer = json.loads(captured.out)
    assert captured.out.count("\n") == 1
    assert set(answer) == {"number", "params"}
    return answer


@pytest.mark.parametrize("value", ["0.25", "-1e-3", "-5", "1E300", " 0.5 "])
def test_ask_then_tell(folder: Path, capsys: pytest.CaptureFixture[str], value: str) -> None:
    optimize(trials="0")
    capsys.readouterr()
    first, second = ask(capsys), ask(capsys)
    assert (first["number"], second["number"]) == (0, 1)
    assert main(["tell", "study.db", "1", value]) == 0
    assert main(["tell", "study.db", "0", "7"]) == 0
    trials = hpo.Study.load("study.db").trials
    assert [trial.value for trial in trials] == [7.0, float(value)]
    assert [trial.params for trial in trials] == [first["params"], second["params"]]


@pytest.mark.parametrize("value", ["null", "NaN", "-Infinity", "Infinity"])
def test_tell_keeps_a_trial_without_a_value_as_failed(
    folder: Path, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    optimize(trials="0")
    ask_line = main(["ask", "study.db"])
    capsys.readouterr()
    assert (ask_line, main(["tell", "study.db", "0", value])) == (0, 0)
    assert "trial 0 is kept as failed" in error_line(capsys)
    assert hpo.Study.load("study.db").trials[0].state is hpo.TrialState.FAILED


def test_tell_takes_several_objectives(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize("--directions", "loss=minimize", "gain=maximize", objective="two", trials="0")
    capsys.readouterr()
    ask(capsys), ask(capsys)
    assert main(["tell", "study.db", "0", "[-1, 2]"]) == 0
    assert main(["tell", "study.db", "1", '{"gain": 3, "loss": 4}']) == 0
    assert [trial.values for trial in hpo.Study.load("study.db").trials] == [(-1.0, 2.0), (4.0, 3.0)]


@pytest.mark.parametrize(
    ("number", "value", "said"),
    [
        ("0", "word", "VALUE must be JSON"),
        ("0", '"1.5"', "value must hold numbers"),
        ("0", "[1, 2]", "value must be one number"),
        ("7", "1", "there is no trial 7"),
        ("1", "1", "a trial is told once"),
        ("0", "true", "value must hold numbers, but got True (bool)"),
        ("0", "[false]", "value must hold numbers, but got False (bool)"),
        ("0", '{"value": true}', "value must hold numbers, but got {'value': True}"),
        ("x", "1", "argument NUMBER: must be an integer >= 0 and < 2**63, but got 'x'"),
        ("-1", "1", "argument NUMBER: must be an integer >= 0 and < 2**63, but got '-1'"),
        (str(2**63 - 1), "1", f"there is no trial {2**63 - 1}"),
        (str(2**63), "1", f"< 2**63, but got '{2**63}'"),
    ],
)
def test_tell_refuses_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], number: str, value: str, said: str
) -> None:
    study = hpo.Study(hpo.Space(x=hpo.Float(0, 1)), "random", storage="study.db", seed=0)
    study.ask(2)
    study.tell(1, 0.5)
    assert main(["tell", "study.db", number, value]) == 2
    assert said in error_line(capsys)
    assert [trial.value for trial in hpo.Study.load("study.db").trials] == [None, 0.5]


def test_ask_of_a_finished_study_prints_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = hpo.Study(hpo.Space(n=hpo.Int(1, 2)), "grid", storage="study.db")
    study.optimize(lambda trial: trial["n"])
    assert main(["ask", "study.db"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "GridSearch gives each of its points once" in captured.err


def test_show_prints_settings_counts_best_and_newest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize("--seed", "3", trials="8")
    main(["ask", "study.db"])
    capsys.readouterr()
    assert main(["show", "study.db", "--trials", "3"]) == 0
    out = capsys.readouterr().out
    study = hpo.Study.load("study.db")
    assert "strategy  random(), seed 3" in out
    assert "7 done, 0 pruned, 1 failed, 1 pending (8)" in out
    assert "y=Float(0.0, 1.0).when(kind='a')" in out
    assert f"{study.best_trial.value:.6g}" in out.partition("best trial")[2].partition("newest")[0]
    newest = out.partition("newest trials, 3 of 9")[2].splitlines()[2:]
    assert [line.split()[:2] for line in newest] == [["6", "done"], ["7", "done"], ["8", "running"]]


def test_show_prints_every_study_or_the_one_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize("--name", "one")
    optimize("--name", "two", "--directions", "minimize", "minimize", objective="two")
    capsys.readouterr()
    assert main(["show", "study.db"]) == 0
    out = capsys.readouterr().out
    assert "study 'one'" in out and "study 'two'" in out
    assert "Pareto front, 8 trials" in out
    assert main(["show", "study.db", "--name", "two", "--trials", "0"]) == 0
    out = capsys.readouterr().out
    assert "study 'one'" not in out and "newest" not in out


def test_show_prints_one_trial_with_its_traceback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize(trials="4")
    capsys.readouterr()
    assert main(["show", "study.db", "--trial", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("trial 2 of study 'study': failed")
    assert 'raise ValueError("the third fails")' in out
    assert main(["show", "study.db", "--trial", "4"]) == 2
    assert "has no trial 4" in error_line(capsys)
    assert main(["show", "study.db", "--trial", str(2**63 - 1)]) == 2
    assert f"has no trial {2**63 - 1}" in error_line(capsys)


def test_show_tells_what_the_model_expected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize("--strategy", "bayesian_optimization", "--direction", "maximize", "--seed", "0", trials="0")
    study = hpo.Study.load("study.db")
    study.optimize(lambda trial: 100.0 + trial["x"], 9)
    capsys.readouterr()
    assert main(["show", "study.db"]) == 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[4] == "±"
    assert 90.0 < float(last[3]) < 110.0  # in the units and the direction of the objective


def test_a_pipe_that_closes_early_is_no_error(folder: Path) -> None:
    optimize()
    code = f"{sys.executable} -m hpo_fast show study.db | {sys.executable} -c 'import sys; sys.stdin.close()'"
    done = subprocess.run(code, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_standard_output_need_not_be_utf_8(folder: Path) -> None:
    space = hpo.Space(größe=hpo.Float(0, 1))
    hpo.Study(space, "random", storage="study.db").optimize(lambda trial: trial["größe"], 1)
    command = [sys.executable, "-m", "hpo_fast", "show", "study.db"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "gr\\xf6\\xdfe=" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
def test_an_error_of_the_system_is_said_in_one_line(folder: Path) -> None:
    optimize()
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "hpo_fast", "show", "study.db"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("hpo-fast show: error: [Errno 28]")


# ---- mistakes --------------------------------------------------------------------------------------------------------

OPTIMIZE = ["optimize", "script.py:objective", "--space", "script.py:space", "--storage", "study.db", "--trials", "3"]


def changed(**arguments: str) -> list[str]:
    """OPTIMIZE with some of its arguments replaced."""
    command = list(OPTIMIZE)
    for name, value in arguments.items():
        place = 1 if name == "objective" else command.index(f"--{name}") + 1
        command[place] = value
    return command


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["show"], "the following arguments are required: FILE"),
        (["show", "no.db"], "there is no 'no.db'"),
        (["ask", "no.db"], "there is no 'no.db'"),
        (["tell", "no.db", "0", "1"], "there is no 'no.db'"),
        (["resume", "no.db"], "there is no 'no.db'"),
        (changed(objective="script.py"), "objective must be written SCRIPT.py:name"),
        (changed(objective="absent.py:f"), "there is no 'absent.py'"),
        (changed(objective="script.py:absent"), "there is no 'absent'"),
        (changed(objective="script.py:number"), "objective must be a function of a trial"),
        (changed(space="script.py:number"), "--space must be a hpo_fast.Space"),
        (changed(trials="-1"), "argument --trials: must be an integer >= 0"),
        ([*OPTIMIZE, "--strategy", "magic"], "strategy must be one of"),
        ([*OPTIMIZE, "--directions", "up", "down"], 'direction must be "minimize" or "maximize"'),
        ([*OPTIMIZE, "--directions", "a=minimize", "maximize"], "--directions must have a name of its own"),
        ([*OPTIMIZE, "--directions", "minimize", "--direction", "maximize"], "not allowed with"),
        ([*OPTIMIZE, "--timeout", "soon"], "must be a number of seconds"),
        ([*OPTIMIZE, "--seed", str(2**63)], "argument --seed: must be an integer >= 0 and < 2**63"),
        (changed(trials="9" * 5000), "argument --trials: must be an integer >= 0 and < 2**63"),
        (changed(storage="absent/study.db"), "--storage must lie in a folder that exists, but got 'absent/study.db'"),
        (changed(storage=""), "--storage must be the path of a file, but got ''"),
        (changed(storage="."), "--storage must be the path of a file, but '.' is a folder"),
        (["show", "absent/study.db"], "there is no 'absent/study.db'"),
        (["show", ""], "there is no ''"),
        (["show", "."], "'.' is a folder"),
        (["resume", "."], "'.' is a folder"),
    ],
)
def test_a_mistake_is_said_in_one_line_and_returns_2(
    folder: Path, capsys: pytest.CaptureFixture[str], command: list[str], said: str
) -> None:
    assert main(command) == 2
    line = error_line(capsys)
    assert line.startswith("hpo-fast") and said in line
    assert os.listdir(folder) == ["script.py"] or set(os.listdir(folder)) == {"script.py", "__pycache__"}


def test_another_space_seed_or_name_than_the_files_returns_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    optimize("--seed", "1", "--name", "one")
    optimize("--seed", "1", "--name", "two")
    capsys.readouterr()
    for more, said in [
        (("--name", "one", "--seed", "2"), "seed 1"),
        (("--name", "one", "--direction", "maximize"), "its own directions"),
        ((), "--name must say which study is meant, for 'study.db' holds 'one', 'two'"),
    ]:
        assert optimize(*more) == 2
        assert said in error_line(capsys)
    assert optimize("--name", "one", space="grid") == 2
    assert "its own space" in error_line(capsys)
    for command in (["ask", "study.db"], ["resume", "study.db"], ["tell", "study.db", "0", "1"]):
        assert main(command) == 2
        assert "--name must say which study is meant" in error_line(capsys)
    assert main(["ask", "study.db", "--name", "three"]) == 2
    assert "--name must be a study in 'study.db'" in error_line(capsys)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import absent_module", "line 1: ModuleNotFoundError"),
        ("x =", "SyntaxError"),
        ("1 / 0", "line 1: ZeroDivision"),
        ("import sys; sys.exit(0)", "line 1: SystemExit: 0"),
    ],
)
def test_a_script_that_raises_is_a_failed_run(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    (folder / "bad.py").write_text(text)
    assert main(changed(objective="bad.py:objective")) == 1
    assert said in error_line(capsys)


def test_a_file_that_is_no_study_file_is_a_failed_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.db").write_bytes(b"no database at all" * 99)
    for command in (["show", "study.db"], ["ask", "study.db"], OPTIMIZE):
        assert main(command) == 1
        assert "storage must be a sound study file" in error_line(capsys)
    assert (folder / "study.db").read_bytes() == b"no database at all" * 99


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "bench"])
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "exit codes: 0 done" in out
    assert f"usage: hpo-fast {command}" in out


def test_help_lists_the_commands_and_version_prints_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert set(COMMANDS) <= set(capsys.readouterr().out.split())
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hpo-fast {hpo.__version__}\n"


def test_bench_without_its_package(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hpo_fast_bench", None)
    monkeypatch.setitem(sys.modules, "hpo_fast_bench.cli", None)
    assert main(["bench"]) == 2
    assert "bench needs the benchmark suite" in error_line(capsys)


def test_bench_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("hpo_fast_bench"), ModuleType("hpo_fast_bench.cli")
    seen: list[int] = []
    module.add_arguments = lambda parser: parser.add_argument("--n", type=int)  # type: ignore[attr-defined]
    module.run = lambda args: seen.append(args.n)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hpo_fast_bench", package)
    monkeypatch.setitem(sys.modules, "hpo_fast_bench.cli", module)
    assert main(["bench", "--n", "3"]) == 0
    assert seen == [3]


def test_python_m_is_the_same(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "hpo_fast", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"hpo-fast {hpo.__version__}\n")
