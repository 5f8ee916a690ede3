"""How the models that ship with TurboV2 were made; nothing here is installed or used when serving."""
