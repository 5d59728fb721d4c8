//! What a path leads to where it should be a regular file: opening a pipe would wait for a writer, reading a device may
//! never end.

use std::fs::FileType;

/// What `kind` is called, unless it is a regular file.
#[cfg(unix)]
pub(crate) fn other_kind(kind: FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_file() => None,
        _ if kind.is_dir() => Some("a directory"),
        _ if kind.is_fifo() => Some("a pipe"),
        _ if kind.is_socket() => Some("a socket"),
        _ if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        _ => Some("no regular file"),
    }
}

/// What `kind` is called, unless it is a regular file.
#[cfg(not(unix))]
pub(crate) fn other_kind(kind: FileType) -> Option<&'static str> {
    match kind {
        _ if kind.is_file() => None,
        _ if kind.is_dir() => Some("a directory"),
        _ => Some("no regular file"),
    }
}
