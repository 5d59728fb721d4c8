//! Device memory that ends at a page nobody may touch: what a kernel reads or writes past a buffer ends the program there
//! and then, and so does what it does with a buffer that was given back.

/// Where buffers start, at least. The driver aligns to 256; no kernel reads more than 16 bytes at once, and the smaller
/// step lets a buffer end close to its guard.
const ALIGNMENT: usize = 16;

/// `bytes` zeros, or nothing where there is no room; `bytes` is not 0.
#[cfg(target_os = "linux")]
pub(super) fn allocate(bytes: usize) -> Option<u64> {
    let (page, used) = (page_bytes(), bytes.next_multiple_of(ALIGNMENT));
    let inside = used.next_multiple_of(page);
    let (rights, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new mapping, which overlaps nothing.
    let start = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            inside + page,
            rights,
            kind | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if start == libc::MAP_FAILED {
        return None;
    }
    let guard = start.wrapping_byte_add(inside);
    // SAFETY: the last page of the mapping just made.
    unsafe { libc::mprotect(guard, page, libc::PROT_NONE) };
    Some((guard.expose_provenance() - used) as u64)
}

/// Gives back what [`allocate`] gave for as many bytes.
#[cfg(target_os = "linux")]
pub(super) fn free(address: u64, bytes: usize) {
    let (page, used) = (page_bytes(), bytes.next_multiple_of(ALIGNMENT));
    let inside = used.next_multiple_of(page);
    let start = super::pointer(address)
        .wrapping_byte_add(used)
        .wrapping_byte_sub(inside);
    // SAFETY: the whole mapping, which only a buffer had that is being dropped.
    unsafe { libc::munmap(start.cast(), inside + page) };
}

#[cfg(target_os = "linux")]
fn page_bytes() -> usize {
    // SAFETY: a question.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// Without guards where there are none.
#[cfg(not(target_os = "linux"))]
pub(super) fn allocate(bytes: usize) -> Option<u64> {
    let layout = std::alloc::Layout::from_size_align(bytes, ALIGNMENT).ok()?;
    // SAFETY: the size is not 0.
    let start = unsafe { std::alloc::alloc_zeroed(layout) };
    (!start.is_null()).then(|| start.expose_provenance() as u64)
}

/// Gives back what [`allocate`] gave for as many bytes.
#[cfg(not(target_os = "linux"))]
pub(super) fn free(address: u64, bytes: usize) {
    if let Ok(layout) = std::alloc::Layout::from_size_align(bytes, ALIGNMENT) {
        // SAFETY: a buffer's drop gives what `allocate` gave, once.
        unsafe { std::alloc::dealloc(super::pointer(address), layout) };
    }
}
