"""The compiled core: the CPU backend itself, one extension module a handle."""
