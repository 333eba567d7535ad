"""The process: devices, threads, heap, signals, counters, version."""
