"""A lake in a folder and one on object storage keep the same promises."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hmct_track.lake import lake_path
from tests.support.lake_contract import LakeContract
from tests.support.s3 import BUCKET, s3_server, use_s3


class TestLakeInAFolder(LakeContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        return tmp_path / "it's a [lake]*"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3_server(tmp_path_factory.mktemp("moto") / "log") as address:
        yield address


@pytest.mark.slow
class TestLakeOnObjectStorage(LakeContract):
    @pytest.fixture
    def place(self, server: str, monkeypatch: pytest.MonkeyPatch) -> Path:
        use_s3(monkeypatch, server)
        return lake_path(f"s3://{BUCKET}/contract/{uuid.uuid4()}")
