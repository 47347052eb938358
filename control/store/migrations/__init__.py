"""Migrations, run by Alembic when a store is opened; each is never changed once released."""
