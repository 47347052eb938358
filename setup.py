"""Builds what cannot be declared in pyproject.toml: the Cython modules of `native/` and the gRPC stubs of `proto/`.

Two environment variables steer the C compiler, both meant for developers:

``T1EDGE_CFLAGS``
    Replaces the optimisation flags, for experiments and for sanitizer builds, for example
    ``T1EDGE_CFLAGS="-O1 -g -fsanitize=address"``. It is handed to the linker as well.
``T1EDGE_JOBS``
    How many C files are generated and compiled at once. Default: the number of processors.

Generated C goes to ``build/cython``; the tree holds only sources, extension modules and stubs.
"""

import hashlib
import os
import pprint
import shlex
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PROTO = ROOT / "proto"
C_DIRECTORY = "build/cython"

# Wheels run on any x86-64 or arm64 machine: no -march here. Kernels that profit from wider vectors carry target_clones.
# Packets are read as bytes; it is what Cython generates around them that stores vtables and functions of other modules
# through pointers of another type (gcc's -Wstrict-aliasing=2 shows where), hence -fno-strict-aliasing.
DEFAULT_CFLAGS = "-O3 -std=gnu11 -fno-strict-aliasing -fno-semantic-interposition -fno-plt -fvisibility=hidden"

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "embedsignature": True,
}


def jobs() -> int:
    """Degree of parallelism of the build."""
    return int(os.environ.get("T1EDGE_JOBS", "0")) or os.cpu_count() or 1


def extensions() -> list[Extension]:
    """One extension per `native/*.pyx`; Cython itself finds which `.pxd` files each is made of."""
    override = os.environ.get("T1EDGE_CFLAGS")
    flags = shlex.split(DEFAULT_CFLAGS if override is None else override)
    # Relative to the root: setuptools runs with the root as its working directory and refuses absolute sources.
    native = ROOT / "native"
    return [
        Extension(
            f"native.{source.stem}",
            [str(source.relative_to(ROOT))],
            include_dirs=["native"],
            depends=[str(part.relative_to(ROOT)) for part in sorted(native.glob(f"{source.stem}*.inc"))],
            extra_compile_args=flags,
            extra_link_args=[] if override is None else flags,
        )
        for source in sorted(native.glob("*.pyx"))
    ]


class BuildNative(build_ext):
    """`build_ext` that runs Cython when asked to build, compiles in parallel and notices changed compiler flags."""

    def finalize_options(self) -> None:
        """Turns .pyx sources into C.

        Raises:
            SystemExit: a source does not compile; Cython has shown where and why.
        """
        from Cython.Build import cythonize
        from Cython.Compiler.Errors import CompileError

        # cythonize knows about changed .pxd files, not about changed directives: those are written in this file.
        outputs = [ROOT / C_DIRECTORY / Path(module.sources[0]).with_suffix(".c") for module in extensions()]
        written = [path.stat().st_mtime for path in outputs if path.exists()]
        try:
            self.distribution.ext_modules[:] = cythonize(
                self.distribution.ext_modules,
                build_dir=C_DIRECTORY,
                nthreads=jobs(),
                compiler_directives=DIRECTIVES,
                force=min(written, default=0.0) < Path(__file__).stat().st_mtime,
            )
        except CompileError as error:
            raise SystemExit(f"Cython could not compile {error}") from None
        super().finalize_options()
        self.parallel = self.parallel or jobs()

    def run(self) -> None:
        """Compiles what is older than its sources, or everything if the last build had other flags."""
        # File times say nothing about flags and compiler: a stamp of those lies beside the objects.
        stamp = Path(self.build_temp) / "flags.sha256"
        flags = [os.environ.get(name) for name in ("CC", "CFLAGS", "LDFLAGS", "T1EDGE_CFLAGS")]
        digest = hashlib.sha256(repr((sys.version, DEFAULT_CFLAGS, flags)).encode()).hexdigest()
        if not stamp.exists() or stamp.read_text(encoding="ascii") != digest:
            self.force = True
        super().run()
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest, encoding="ascii")


class BuildPython(build_py):
    """`build_py` that first writes the gRPC stubs beside the sources: editable installs and wheels find them there."""

    def run(self) -> None:
        """Generates, then collects the packages' files."""
        generate_stubs()
        # Packages were listed before the stubs existed; drop what build_py remembered about its data files.
        self.__dict__.pop("data_files", None)
        super().run()


def generate_stubs() -> None:
    """Runs protoc over every file of `proto/`; its output keeps the directory layout, so imports resolve unchanged.

    What the files say of the control plane's fields goes into a module beside the stubs: help texts are made of it.

    Raises:
        SystemExit: protoc refused a file; its own message is on stderr.
    """
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    includes = [f"-I{PROTO}", f"-I{well_known}"]
    outputs = [f"--{kind}_out={ROOT}" for kind in ("python", "pyi", "grpc_python")]
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder) / "described"
        outputs += ["--include_source_info", f"--descriptor_set_out={described}"]
        if protoc.main(["protoc", *includes, *outputs, *sources]) != 0:
            raise SystemExit("protoc could not generate the gRPC stubs from proto/")
        comments = comments_of(described.read_bytes(), "control.v1")
    text = pprint.pformat(comments, width=10_000)
    (ROOT / "control/v1/comments_pb2.py").write_text(f"COMMENTS = {text}\n", encoding="utf-8")


def comments_of(described: bytes, package: str) -> dict[str, str]:
    """`Message.field` -> the comment before it, for every message of a package in a serialized FileDescriptorSet."""
    from google.protobuf.descriptor_pb2 import (  # noqa: TID251 - protoc's own words
        DescriptorProto,
        FileDescriptorProto,
        FileDescriptorSet,
    )

    messages = FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
    fields, nested = DescriptorProto.FIELD_FIELD_NUMBER, DescriptorProto.NESTED_TYPE_FIELD_NUMBER
    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(described).file:
        for place in file.source_code_info.location if file.package == package else ():
            if len(place.path) % 2 or place.path[:1] != [messages] or place.path[-2] != fields:
                continue
            message = file.message_type[place.path[1]]
            for kind, index in zip(place.path[2:-2:2], place.path[3:-2:2], strict=True):
                assert kind == nested
                message = message.nested_type[index]
            comment = " ".join(place.leading_comments.split())
            found[f"{message.name}.{message.field[place.path[-1]].name}"] = comment
    return found


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildNative, "build_py": BuildPython})
