"""What tenants have, as values: frozen models that know what is wrong with them, one file a subject.

A model holds what its owner may say.  Where it lies, its version and its times are the store's
(:class:`control.store.records.Record`).
"""

from __future__ import annotations

from control.objects.org import SYSTEM_ORG, Org
from control.objects.token import ApiToken
from control.objects.user import Role, User

__all__ = ["SYSTEM_ORG", "ApiToken", "Org", "Role", "User"]
