"""The benchmarks: public problems, methods of ours and of peers, and one part for each figure that must be reached."""
