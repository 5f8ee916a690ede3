"""What backends share that speak to a server of llama.cpp's, in this process or beside it.

Owns prompts of models in GGUF, the server's routes and its answers. Must not know how the server was started.
"""
