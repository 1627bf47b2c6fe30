"""What `legion demo` rolls out: a system that answers questions, and its questions."""
