"""What the bundle starts: the tierwise that lies beside it as a wheel."""

from tierwise.server.cli import main

main()
