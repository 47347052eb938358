"""Builds the drivers beside their sources: ``python tests/fuzz/native/setup.py build_ext --inplace``,
in the root of a tree whose `native/` is built with the same T1EDGE_CFLAGS."""

import os
import shlex

from Cython.Build import cythonize
from setuptools import Extension, setup

FLAGS = shlex.split(os.environ.get("T1EDGE_CFLAGS", "-O3 -std=gnu11 -fno-strict-aliasing"))

setup(
    ext_modules=cythonize(
        [
            Extension(
                f"tests.fuzz.native.{name}",
                [f"tests/fuzz/native/{name}.pyx"],
                include_dirs=["native"],
                extra_compile_args=FLAGS,
                extra_link_args=FLAGS,
            )
            for name in ("storm", "rounds")
        ],
        build_dir="build/cython",
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
    )
)
