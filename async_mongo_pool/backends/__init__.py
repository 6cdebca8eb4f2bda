"""The drivers behind one small seam."""
