//! Registered buffers and files: `io_uring_register(2)`.

use std::io;
use std::os::fd::RawFd;

use super::register;

const UNREGISTER_FILES: libc::c_uint = 3;
const REGISTER_FILES2: libc::c_uint = 13;
const REGISTER_BUFFERS2: libc::c_uint = 15;
const REGISTER_BUFFERS_UPDATE: libc::c_uint = 16;
const SPARSE: u32 = 1 << 0;

/// `struct io_uring_rsrc_register`.
#[repr(C)]
struct RsrcRegister {
    nr: u32,
    flags: u32,
    resv2: u64,
    data: u64,
    tags: u64,
}

/// `struct io_uring_rsrc_update2`.
#[repr(C)]
struct RsrcUpdate2 {
    offset: u32,
    resv: u32,
    data: u64,
    tags: u64,
    nr: u32,
    resv2: u32,
}

/// Makes a table of so many places without buffers, `IORING_REGISTER_BUFFERS2` with `IORING_RSRC_REGISTER_SPARSE`.
pub(crate) fn register_sparse_buffers(ring: RawFd, places: u32) -> io::Result<()> {
    register_sparse(ring, REGISTER_BUFFERS2, places)
}

/// Makes a table of so many places without files, `IORING_REGISTER_FILES2` with `IORING_RSRC_REGISTER_SPARSE`.
pub(crate) fn register_sparse_files(ring: RawFd, places: u32) -> io::Result<()> {
    register_sparse(ring, REGISTER_FILES2, places)
}

/// Has the kernel let go of that table and its files, `IORING_UNREGISTER_FILES`. It fails only if there is none.
pub(crate) fn unregister_files(ring: RawFd) {
    // SAFETY: no memory is passed.
    let _ = unsafe { register(ring, UNREGISTER_FILES, std::ptr::null::<()>(), 0) };
}

fn register_sparse(ring: RawFd, opcode: libc::c_uint, places: u32) -> io::Result<()> {
    let argument = RsrcRegister { nr: places, flags: SPARSE, resv2: 0, data: 0, tags: 0 };
    // SAFETY: one structure that lives over the call is passed, and its size; it names no memory.
    unsafe { register(ring, opcode, &raw const argument, size_of::<RsrcRegister>()) }.map(drop)
}

/// Puts memory at a place of the table, or nothing if there are no bytes: `IORING_REGISTER_BUFFERS_UPDATE`. The kernel pins
/// the pages.
pub(crate) fn update_buffer(ring: RawFd, index: u32, address: u64, bytes: usize) -> io::Result<()> {
    let buffer = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: bytes };
    let data = &raw const buffer as u64;
    let argument = RsrcUpdate2 { offset: index, resv: 0, data, tags: 0, nr: 1, resv2: 0 };
    // SAFETY: the structure and the iovec that it points to live over the call, and the size is passed. The kernel checks the
    // memory that is registered; who may use it is said by whoever owns it.
    match unsafe { register(ring, REGISTER_BUFFERS_UPDATE, &raw const argument, size_of::<RsrcUpdate2>()) }? {
        1 => Ok(()),
        _ => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}
