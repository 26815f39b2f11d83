//! `UCred`.

use std::io;
use std::os::fd::RawFd;

use crate::sys;

/// Who is at the other end of a Unix socket: the process that connected or listened, as it was then. `SO_PEERCRED`,
/// `unix(7)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    pid: i32,
    uid: u32,
    gid: u32,
}

impl UCred {
    /// The user.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The group.
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// The process; `None` if it cannot be told in this one's namespace.
    pub fn pid(&self) -> Option<i32> {
        (self.pid > 0).then_some(self.pid)
    }
}

pub(super) fn peer(fd: RawFd) -> io::Result<UCred> {
    let [pid, uid, gid] = sys::option::<[u32; 3]>(fd, libc::SOL_SOCKET, libc::SO_PEERCRED)?;
    Ok(UCred { pid: pid as i32, uid, gid })
}
