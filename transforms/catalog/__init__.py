"""The store's metadata: layout, manifests, snapshots, plans, parts, tombstones and leases."""
