# SPDX-License-Identifier: BSD-3-Clause
"""The stubs name what there is."""

import ast
import inspect
import os

import dlslime
from dlslime import _core

FOLDER = os.path.dirname(dlslime.__file__)


def parse(name):
    with open(os.path.join(FOLDER, name)) as f:
        return ast.parse(f.read())


def test_the_stub_of_the_package_has_every_public_name():
    named = {a.asname or a.name for node in ast.walk(parse("__init__.pyi"))
             if isinstance(node, ast.ImportFrom) for a in node.names}
    assert not set(dlslime.__all__) - named - {"get_cmake_dir"}
    for name in named:
        getattr(dlslime, name)


def test_the_stub_of_the_extension_has_its_methods_with_their_arguments():
    for node in parse("_core.pyi").body:
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        cls = getattr(_core, node.name)
        said = {n.name: n for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
        for name, function in said.items():
            assert hasattr(cls, name) or name == "__buffer__", f"{node.name}.{name}"
            method = getattr(cls, name, None)
            if name.startswith("__") or not callable(method):
                continue
            real = [p for p in inspect.signature(method).parameters]
            args = function.args
            assert real == [a.arg for a in args.args + args.kwonlyargs], f"{node.name}.{name}"
        public = {n for n in vars(cls) if not n.startswith("_")}
        fields = {n.target.id for n in node.body if isinstance(n, ast.AnnAssign)}
        assert public - set(said) - fields <= {"close", "note", "trace", "get_loop"}, node.name
