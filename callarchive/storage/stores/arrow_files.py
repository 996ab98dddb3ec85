"""A store as a file system for Arrow. Every file is one object, read in one request.

Arrow's own S3 file system reads a Parquet file in several requests. If the partition is replaced in between, it would mix
columns of the old and the new rows.
"""

from typing import NoReturn

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileSystemHandler, FileType, LocalFileSystem, PyFileSystem

from callarchive.domain.errors import StoreError
from callarchive.storage.stores import Store
from callarchive.storage.stores.opening import local_folder


def arrow_filesystem(store: Store) -> tuple[FileSystem, str]:
    """Return a read-only Arrow file system, and the prefix of paths in it. An open local file keeps its content."""
    if (folder := local_folder(store)) is not None:
        return LocalFileSystem(), f"{folder}/"
    return PyFileSystem(_StoreFiles(store)), ""


class _StoreFiles(FileSystemHandler):
    def __init__(self, store: Store) -> None:
        self._store = store

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StoreFiles) and other._store is self._store

    def __hash__(self) -> int:
        return hash(id(self._store))

    def get_type_name(self) -> str:
        return "callarchive"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: str | list[str]) -> list[FileInfo]:
        """Return files: the paths come from a listing."""
        return [FileInfo(path, FileType.File) for path in ([paths] if isinstance(paths, str) else paths)]

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        listed = self._store.list(selector.base_dir)
        return [FileInfo(item.path, FileType.File, size=item.size_bytes) for item in listed]

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.BufferReader(self._store.read(path))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StoreError(f"{self._store.url} is read-only for Arrow")

    copy_file = create_dir = delete_dir = delete_dir_contents = delete_file = delete_root_dir_contents = _refuse
    move = open_append_stream = open_output_stream = _refuse
