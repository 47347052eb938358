"""What machines are made from: templates, each of a region, and sizes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from control.objects.values import Description, DisplayName, Value

MAX_VCPU = 128
MAX_MEMORY_GB = 2_048

Vcpu = Annotated[int, Field(ge=1, le=MAX_VCPU)]
MemoryGb = Annotated[int, Field(ge=1, le=MAX_MEMORY_GB)]


class OsFamily(StrEnum):
    """Families of operating systems."""

    LINUX = "LINUX"
    WINDOWS = "WINDOWS"
    OTHER = "OTHER"


BASE_DISK_GB = {OsFamily.LINUX: 20, OsFamily.WINDOWS: 50, OsFamily.OTHER: 20}
"""Of the public catalog's templates."""


class Template(Value):
    """A machine to be copied."""

    display_name: DisplayName
    description: Description = ""
    catalog: Literal["VM-Catalog", "App-Cat", "K8s-Catalog"] = "VM-Catalog"
    os_family: OsFamily
    base_disk_gb: Annotated[int, Field(ge=1, le=16_384)]


class SizingPolicy(Value):
    """A size that the provider offers."""

    display_name: DisplayName
    description: Description = ""
    vcpu: Vcpu
    memory_gb: MemoryGb


_WINDOWS = ("2012 R2", "2016 R2", "2019")
_SQL = ("2012", "2017", "2019")
_LINUX = (
    "Red Hat 7",
    "Red Hat 8",
    "Red Hat Load Balancer",
    "Red Hat for SAP HANA",
    "SUSE Enterprise 15",
    "SUSE Enterprise 12 for SAP HANA",
    "Debian 10",
    "CentOS 7",
    "CentOS 8",
    "Ubuntu Server 16.04 LTS",
    "Ubuntu Server 18.04 LTS",
    "Ubuntu Server 20.04 LTS",
    "OpenVPN Access Server",
)

PUBLIC_TEMPLATES: tuple[tuple[str, OsFamily], ...] = (
    *((f"Windows Server {version}", OsFamily.WINDOWS) for version in _WINDOWS),
    *((f"Windows Server {version} SQL ST {sql}", OsFamily.WINDOWS) for version in _WINDOWS for sql in _SQL),
    *((name, OsFamily.LINUX) for name in _LINUX),
    ("VeloCloud", OsFamily.OTHER),
)
"""VM-Catalog, which every region has."""

PUBLIC_SIZES: tuple[tuple[str, int, int], ...] = (
    ("gp.xsmall-01", 1, 1),
    ("gp.small-01", 2, 4),
    ("gp.small-02", 2, 8),
    ("gp.medium-01", 4, 8),
    ("gp.medium-02", 4, 16),
    ("gp.medium-03", 8, 16),
    ("gp.medium-04", 8, 32),
    ("gp.large-01", 16, 32),
    ("gp.large-02", 16, 64),
    ("gp.xlarge-01", 32, 96),
    ("gp.xlarge-02", 32, 128),
)
"""Name, vCPU, GB of memory."""
