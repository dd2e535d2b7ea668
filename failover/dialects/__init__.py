"""Wire formats: values to bytes and bytes to values, without I/O."""
