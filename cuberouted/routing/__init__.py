"""Routes: the import policy, the RIB, the FIB, and the kernel that follows them."""
