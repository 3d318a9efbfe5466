"""Break the core in many small ways, one at a time, and count what the tests notice.

``make mutants`` breaks the modules in ``TESTS``, one after another; ``make mutants ARGS="locks"``
breaks one, ``make mutants ARGS="locks botsessions.locks.*release*"`` a part of it. mutmut does the
work. Its own mutations change values and operators; those added here are the ones that matter most
in code about order and failure: a condition is turned round, a statement is left out, a result is
lost.
"""

import argparse
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import libcst as cst
from mutmut.__main__ import _run as run_mutmut
from mutmut.__main__ import collect_source_file_mutation_data
from mutmut.configuration import config
from mutmut.mutation import file_mutation
from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.mutation.mutators import mutation_operators
from mutmut.stats import status_by_exit_code

REQUIRED_PERCENT = 88
NOTICED = {"killed", "timeout"}

TESTS = {
    "codec": ["codec"],
    "contents": ["contents"],
    "data": ["data", "sessions"],
    "database/batch": ["database_batch"],
    "database/batching": ["database_batching"],
    "exchange": ["exchange", "sessions"],
    "holding": ["holding", "locks", "busy", "sweep", "unit"],
    "locks": ["locks"],
    "saving": ["saving", "sessions"],
    "stored": ["stored", "sessions"],
    "unit": [
        *("unit", "beside", "contents", "editing", "failures"),
        *("ptb_application", "sessions", "supergroups"),
    ],
}
"""By module, the test files that are to notice: its own first."""

WRAPPERS = {"property", "cached_property", "contextmanager", "asynccontextmanager"}
"""Decorators that can be put around mutmut's switch between a function and its mutants."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module", nargs="?", choices=TESTS)
    parser.add_argument("mutants", nargs="*", help="their names, with * for any text")
    parser.add_argument("--max-children", type=int, help="so many at a time; else as many as cores")
    options = parser.parse_args()
    if options.module is None:
        again = [sys.executable, __file__, *sys.argv[1:]]
        sys.exit(max(subprocess.call([*again, module]) for module in TESTS))  # noqa: S603
    shutil.rmtree("mutants", ignore_errors=True)
    config().only_mutate = [f"botsessions/{options.module}.py"]
    config().pytest_add_cli_args_test_selection = [
        f"tests/test_{name}.py" for name in TESTS[options.module]
    ]
    extend_mutmut()
    run_mutmut(options.mutants, options.max_children)
    if report() < REQUIRED_PERCENT:
        sys.exit(f"At least {REQUIRED_PERCENT} % should be noticed.")


def report() -> float:
    """Print the mutants that nobody noticed, and return the percentage of the others."""
    noticed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for file, mutant, exit_code in collect_source_file_mutation_data(mutant_names=())[0]:
        status = status_by_exit_code[exit_code]
        if status == "not checked":
            continue
        total[str(file.path)] += 1
        if status in NOTICED:
            noticed[str(file.path)] += 1
        else:
            print(f"\n{mutant}: {status}\n{changed_lines(mutant)}")
    print()
    for path in sorted(total):
        print(f"{path}: {noticed[path]} of {total[path]}")
    percent = 100 * noticed.total() / total.total()
    print(f"Noticed: {noticed.total()} of {total.total()} mutants, {percent:.1f} %")
    return percent


def changed_lines(mutant: str) -> str:
    diff = get_diff_for_mutant(mutant).splitlines()[2:]
    return "\n".join(line for line in diff if line.startswith(("-", "+")))


def turned_condition(node: cst.If | cst.While | cst.CompIf) -> Iterator[cst.CSTNode]:
    if not isinstance(node.test, cst.UnaryOperation):  # mutmut removes a "not" itself.
        test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        yield node.with_changes(test=cst.UnaryOperation(cst.Not(), test))


def left_out_statement(node: cst.Expr | cst.Raise | cst.Del) -> Iterator[cst.CSTNode]:
    if not isinstance(node, cst.Expr) or isinstance(node.value, (cst.Call, cst.Await)):
        yield cst.Pass()


def lost_result(node: cst.Return) -> Iterator[cst.CSTNode]:
    if node.value is not None and not isinstance(node.value, cst.Name):
        yield node.with_changes(value=cst.Name("None"))


def extend_mutmut() -> None:
    """Add the mutations above, and let mutmut into functions that have a wrapper around them."""
    mutation_operators.extend(
        [
            *((kind, turned_condition) for kind in (cst.If, cst.While, cst.CompIf)),
            *((kind, left_out_statement) for kind in (cst.Expr, cst.Raise, cst.Del)),
            (cst.Return, lost_result),
        ]
    )
    skips = file_mutation.MutationVisitor._skip_node_and_children
    arrange = file_mutation.function_trampoline_arrangement

    def skips_unless_wrapped(self, node):
        return not is_wrapped(node) and skips(self, node)

    def arrange_without_wrappers(function, mutants, class_name):
        declarations, (switch, *variants), assignments, names = arrange(
            function, mutants, class_name
        )
        if is_wrapped(function):
            variants = [variant.with_changes(decorators=[]) for variant in variants]
        return declarations, [switch, *variants], assignments, names

    file_mutation.MutationVisitor._skip_node_and_children = skips_unless_wrapped
    file_mutation.function_trampoline_arrangement = arrange_without_wrappers


def is_wrapped(node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.FunctionDef) or not node.decorators:
        return False
    wrappers = [decorator.decorator for decorator in node.decorators]
    return all(isinstance(name, cst.Name) and name.value in WRAPPERS for name in wrappers)


if __name__ == "__main__":
    main()
