"""PostgreSQL: tables, migrations, the ledger, the catalogue of users and strategies."""
