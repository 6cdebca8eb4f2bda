"""Writers on every driver, faults under them, and what became of their writes."""
