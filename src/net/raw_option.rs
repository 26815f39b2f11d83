//! Options of sockets as bytes. The kernel takes some of these for addresses, so whoever passes them vouches for them.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use super::Socket;
use crate::sys;

/// # Options
impl Socket {
    /// The value of an option, which is written to `value`; gives how many bytes it has: `getsockopt(2)`.
    ///
    /// # Safety
    /// What `value` holds before the call must not have the kernel touch memory that is not the caller's: there are options that
    /// are asked for with addresses in it (`TCP_ZEROCOPY_RECEIVE` writes what was received there).
    ///
    /// # Errors
    /// Those of the call (`ENOPROTOOPT`).
    pub unsafe fn option(&self, level: i32, name: i32, value: &mut [u8]) -> io::Result<usize> {
        // SAFETY: passed on.
        unsafe { sys::option_bytes(self.as_raw_fd(), level, name, value) }
    }

    /// Sets an option: `setsockopt(2)`. A number is its bytes: `&1i32.to_ne_bytes()`.
    ///
    /// # Safety
    /// The option must not have the kernel touch memory that is not the caller's, now or later: there are values with addresses
    /// in them (`SO_ATTACH_FILTER`, `XDP_UMEM_REG`).
    ///
    /// # Errors
    /// Those of the call (`ENOPROTOOPT`, `InvalidInput`, `PermissionDenied`).
    pub unsafe fn set_option(&self, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
        // SAFETY: passed on.
        unsafe { sys::set_option_bytes(self.as_raw_fd(), level, name, value) }?;
        if (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER) {
            self.note_linger();
        }
        Ok(())
    }
}
