"""An edge between network namespaces, with the kernel's own stack on both sides of it."""
