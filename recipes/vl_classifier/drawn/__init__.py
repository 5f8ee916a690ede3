"""Pages drawn by code, with what is on them known exactly: half text only, half with HIGH content."""
