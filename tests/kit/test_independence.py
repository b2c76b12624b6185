"""What judges the runner imports nothing of it, directly or through a module of the tests."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = [ROOT / "tests", ROOT / "tests/faults", ROOT / "molecule/recovery"]
EVIDENCE = [
    *sorted(path for path in Path(__file__).parent.glob("*.py") if path.name[:5] != "test_"),
    *(ROOT / "tests/faults" / f"{name}.py" for name in ("evidence", "ground", "solvers", "books")),
    *sorted((ROOT / "molecule/recovery/machine_faults").glob("*.py")),
]


def imported(path: Path) -> Iterator[str]:
    """The names of the modules that a file imports when it runs."""
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        match node := todo.pop():
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                todo += node.orelse
                continue
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom(level=0, module=str(module)):
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)
            case ast.ImportFrom():
                raise AssertionError(f"{path}: a relative import, which is not followed")
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="__import__")):
                raise AssertionError(f"{path}: a computed import, which is not followed")
        todo += ast.iter_child_nodes(node)


def reaches(path: Path, places: list[Path], package: str = "sagequeue") -> list[str] | None:
    """The imports that lead from a file to the package, in order; None if no import does."""
    ways: dict[Path, list[str]] = {path: []}
    todo = [path]
    while todo:
        here = todo.pop()
        for name in imported(here):
            way = [*ways[here], name]
            if name.partition(".")[0] == package:
                return way
            stems = [place / name.replace(".", "/") for place in places]
            for file in (f for s in stems for f in (s.with_suffix(".py"), s / "__init__.py")):
                if file.is_file() and file not in ways:
                    ways[file] = way
                    todo.append(file)
    return None


@pytest.mark.parametrize("path", EVIDENCE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_evidence_does_not_come_from_the_runner(path: Path) -> None:
    assert reaches(path, PLACES) is None


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("import sagequeue.jobs\n", ["sagequeue.jobs"]),
        ("def f():\n    from sagequeue import owner\n", ["sagequeue"]),
        ("import other\n", ["other", "sagequeue.spool"]),
        ("from package import inner\n", ["package.inner", "other", "sagequeue.spool"]),
        ("if TYPE_CHECKING:\n    import sagequeue\nelse:\n    import other\n",
         ["other", "sagequeue.spool"]),
        ("if TYPE_CHECKING:\n    import sagequeue\n", None),
        ("import sagequeue_like, os\n", None),
    ],
)  # fmt: skip
def test_an_import_of_the_runner_is_found(text: str, way: list[str] | None, tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/inner.py").write_text("import other\n")
    (tmp_path / "other.py").write_text("import sagequeue.spool\n")
    judge = tmp_path / "judge.py"
    judge.write_text(text)
    assert reaches(judge, [tmp_path]) == way


def test_what_runs_the_runner_is_seen_to_import_it() -> None:
    assert reaches(ROOT / "runner/tests/rig.py", PLACES) is not None
