"""The console: a page for people, its styles and scripts. It knows the server only by the routes it calls.

Everything it shows it asks for with the visitor's key, so these files hold no secret and need none.
"""

from turbov2.server.console.page import console_routes

__all__ = ["console_routes"]
