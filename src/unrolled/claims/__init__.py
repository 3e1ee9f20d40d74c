"""Claims: the ledger of what the papers say, tested on records by rules fixed before the runs."""

from unrolled.claims.claim import Cell, Claim, Role, Verdict
from unrolled.claims.ledger import CLAIMS, ClaimResult, cell_table, evaluate_claims, table, write_claims

__all__ = [
    "CLAIMS",
    "Cell",
    "Claim",
    "ClaimResult",
    "Role",
    "Verdict",
    "cell_table",
    "evaluate_claims",
    "table",
    "write_claims",
]
