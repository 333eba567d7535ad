"""The process: devices, threads, heap, signals, counters and version."""
