"""Organizations: the tenants."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from control.objects.values import DisplayName, Value

ACCOUNT = r"^([A-Z]{2}[0-9]{1,12}|system)$"


class Org(Value):
    """A tenant.  ``account_id`` is the cloud account, for example ``US1134362``; ``system`` is the provider's."""

    account_id: Annotated[str, StringConstraints(max_length=14, pattern=ACCOUNT)]
    display_name: DisplayName


SYSTEM_ORG = Org(account_id="system", display_name="Provider")
