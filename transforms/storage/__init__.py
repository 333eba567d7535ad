"""Files and formats: fsspec, exclusive create, file cache, Parquet, Arrow and hashing."""
