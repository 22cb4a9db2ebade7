from tests.server.conftest import demo, fake, installation

__all__ = ["demo", "fake", "installation"]
