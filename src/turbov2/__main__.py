"""`python -m turbov2` is `turbov2`."""

from turbov2.cli import main

if __name__ == "__main__":
    main()
