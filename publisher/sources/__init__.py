"""Where execs come from: each source is an asynchronous iterator of checked batches (`base`)."""
