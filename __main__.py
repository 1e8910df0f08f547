"""`python -m palaestra` is `palaestra`; torchrun needs the module form."""

from .cli import main

if __name__ == "__main__":
    main()
