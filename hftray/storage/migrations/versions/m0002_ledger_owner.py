"""Which journal writes the record, and the numbers of the risk state's changes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger_owner",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("journal", sa.String(), nullable=False),
        sa.Column(
            "since", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_owner")),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_owner_single_row")),
    )
    op.execute("INSERT INTO ledger_owner (id, journal) VALUES (1, '')")
    op.add_column(
        "risk_events",
        sa.Column("sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
    )


def downgrade() -> None:
    op.drop_column("risk_events", "sequence")
    op.drop_table("ledger_owner")
