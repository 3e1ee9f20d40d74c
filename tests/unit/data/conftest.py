import pytest


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no data folder of the environment."""
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNROLLED_DATA", raising=False)
    return tmp_path / "cache"
