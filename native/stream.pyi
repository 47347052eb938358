from typing_extensions import disjoint_base

@disjoint_base
class InputStream:
    def close(self) -> None:
        """Close the descriptor; iterating ends here."""
