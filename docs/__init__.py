"""The documents, and the program that writes those which repeat what the code says."""
