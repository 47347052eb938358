"""IPsec tunnels: policies as CloudAPI has them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from control.objects.reading import MAX_REFERENCES, Cidr, Host, OneLine, ShortText
from control.objects.values import Description, DisplayName, Value

MAX_TUNNELS = 1_000

Digest = Literal["SHA1", "SHA2_256", "SHA2_384", "SHA2_512"]
DhGroup = Literal["GROUP2", "GROUP5", "GROUP14", "GROUP15", "GROUP16", "GROUP19", "GROUP20", "GROUP21"]
Cipher = Literal["AES_128", "AES_256", "AES_GCM_128", "AES_GCM_192", "AES_GCM_256"]
TunnelCipher = (
    Cipher
    | Literal[
        "NO_ENCRYPTION", "NO_ENCRYPTION_AUTH_AES_GMAC_128", "NO_ENCRYPTION_AUTH_AES_GMAC_192",
        "NO_ENCRYPTION_AUTH_AES_GMAC_256",
    ]
)  # fmt: skip


class IkeConfiguration(Value):
    """How the two ends agree; a life time in seconds.  A list that is empty means CloudAPI's default."""

    ike_version: Literal["IKE_V1", "IKE_V2", "IKE_FLEX"] = "IKE_V2"
    encryption_algorithms: Annotated[tuple[Cipher, ...], Field(max_length=5)] = ()
    digest_algorithms: Annotated[tuple[Digest, ...], Field(max_length=4)] = ()
    dh_groups: Annotated[tuple[DhGroup, ...], Field(max_length=8)] = ()
    sa_life_time: Annotated[int, Field(ge=21_600, le=31_536_000)] = 86_400


class TunnelConfiguration(Value):
    """How packets are protected; a life time in seconds.  A list that is empty means CloudAPI's default."""

    perfect_forward_secrecy_enabled: bool = True
    df_policy: Literal["COPY", "CLEAR"] = "COPY"
    encryption_algorithms: Annotated[tuple[TunnelCipher, ...], Field(max_length=9)] = ()
    digest_algorithms: Annotated[tuple[Digest, ...], Field(max_length=4)] = ()
    dh_groups: Annotated[tuple[DhGroup, ...], Field(max_length=8)] = ()
    sa_life_time: Annotated[int, Field(ge=900, le=31_536_000)] = 3_600

    @model_validator(mode="after")
    def _no_digest_beside_gcm(self) -> TunnelConfiguration:
        if self.digest_algorithms and any("GCM" in cipher or "GMAC" in cipher for cipher in self.encryption_algorithms):
            raise ValueError("GCM and GMAC authenticate by themselves: they take no digest_algorithms")
        return self


class DpdConfiguration(Value):
    """How a peer that has gone is noticed; seconds."""

    probe_interval: Annotated[int, Field(ge=3, le=60)] = 60


class ConnectionProperties(Value):
    """The security profile of a CUSTOM tunnel."""

    ike_configuration: IkeConfiguration = IkeConfiguration()
    tunnel_configuration: TunnelConfiguration = TunnelConfiguration()
    dpd_configuration: DpdConfiguration = DpdConfiguration()


class LocalEndpoint(Value):
    """This side; the address is one of the edge's public ones."""

    local_id: ShortText = ""
    local_address: Host
    local_networks: Annotated[tuple[Cidr, ...], Field(min_length=1, max_length=MAX_REFERENCES)]


class RemoteEndpoint(Value):
    """The other side; no networks: all."""

    remote_id: ShortText = ""
    remote_address: Host
    remote_networks: Annotated[tuple[Cidr, ...], Field(max_length=MAX_REFERENCES)] = ()


class IpsecTunnel(Value):
    """A tunnel; ``pre_shared_key`` is never told."""

    display_name: DisplayName
    description: Description = ""
    enabled: bool = True
    logging: bool = False
    authentication_mode: Literal["PSK"] = "PSK"
    pre_shared_key: Annotated[str, StringConstraints(max_length=128), OneLine] = ""
    local_endpoint: LocalEndpoint
    remote_endpoint: RemoteEndpoint
    connector_initiation_mode: Literal["INITIATOR", "RESPOND_ONLY", "ON_DEMAND"] = "INITIATOR"
    security_type: Literal["DEFAULT", "CUSTOM"] = "DEFAULT"
    connection_properties: ConnectionProperties | None = None

    @model_validator(mode="after")
    def _properties_of_custom_ones(self) -> IpsecTunnel:
        if self.connection_properties is not None and self.security_type != "CUSTOM":
            raise ValueError("connection_properties belong to the security_type CUSTOM")
        return self
