//! Extended attributes: `IORING_OP_GETXATTR`, `FGETXATTR`, `SETXATTR`, `FSETXATTR`. The kernel makes these calls in a worker
//! thread.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;

use super::at::Duplicate;
use super::{Arena, Cqe, Next, Op, Sealed, Sqe};
use crate::buf::BufResult;
use crate::salvage::Lane;

/// `IORING_OP_GETXATTR`, `IORING_OP_FGETXATTR`: `getxattr(2)`, `fgetxattr(2)`. A worker thread that comes late to the number
/// does another file no harm.
#[doc(alias = "IORING_OP_GETXATTR")]
#[doc(alias = "IORING_OP_FGETXATTR")]
#[derive(Debug)]
pub struct GetXattr {
    /// A path, or a file.
    of: Result<CString, RawFd>,
    name: CString,
    value: Vec<u8>,
}

impl GetXattr {
    /// The value goes to the vector's capacity; with none, its length is given.
    pub(crate) fn path(path: CString, name: CString, value: Vec<u8>) -> GetXattr {
        GetXattr { of: Ok(path), name, value }
    }

    pub(crate) fn file(fd: RawFd, name: CString, value: Vec<u8>) -> GetXattr {
        GetXattr { of: Err(fd), name, value }
    }
}

impl Sealed for GetXattr {}

// SAFETY: path, name and value are on the heap and stay put while the operation is moved.
unsafe impl Op for GetXattr {
    type Output = BufResult<usize, Vec<u8>>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        self.value.clear();
        let entry = match &self.of {
            Ok(path) => Sqe::new(io_uring::opcode::GetXattr::CODE).addr3(path.as_ptr() as u64),
            Err(fd) => Sqe::new(io_uring::opcode::FGetXattr::CODE).fd(*fd),
        };
        let capacity = u32::try_from(self.value.capacity()).unwrap_or(u32::MAX);
        *sqe = entry.addr(self.name.as_ptr() as u64).offset(self.value.as_mut_ptr() as u64).len(capacity);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(mut self, cqe: Cqe) -> Self::Output {
        let result = cqe.ok().map(|len| len as usize);
        if let Ok(len) = result
            && len <= self.value.capacity()
        {
            // SAFETY: the kernel has written so many bytes.
            unsafe { self.value.set_len(len) };
        }
        (result, self.value)
    }
}

/// `IORING_OP_SETXATTR`, `IORING_OP_FSETXATTR`: `setxattr(2)`, `fsetxattr(2)`, the latter on a duplicate of its own.
#[doc(alias = "IORING_OP_SETXATTR")]
#[doc(alias = "IORING_OP_FSETXATTR")]
#[derive(Debug)]
pub struct SetXattr {
    of: Result<CString, Duplicate>,
    name: CString,
    value: Box<[u8]>,
    flags: u32,
}

impl SetXattr {
    /// `flags` are 0, `XATTR_CREATE` or `XATTR_REPLACE`.
    pub(crate) fn path(path: CString, name: CString, value: Box<[u8]>, flags: u32) -> SetXattr {
        SetXattr { of: Ok(path), name, value, flags }
    }

    pub(crate) fn file(fd: RawFd, name: CString, value: Box<[u8]>, flags: u32) -> SetXattr {
        SetXattr { of: Err(Duplicate::of(fd)), name, value, flags }
    }
}

impl Sealed for SetXattr {}

// SAFETY: path, name and value are on the heap and stay put while the operation is moved.
unsafe impl Op for SetXattr {
    type Output = io::Result<()>;

    const WANTS_WORKER: bool = true;

    fn prepare(&mut self, sqe: &mut Sqe, _arena: &mut Arena) -> Result<(), i32> {
        // A length that the entry has no room for is one that the kernel refuses anyway.
        let len = u32::try_from(self.value.len()).map_err(|_| libc::E2BIG)?;
        let entry = match &mut self.of {
            Ok(path) => Sqe::new(io_uring::opcode::SetXattr::CODE).addr3(path.as_ptr() as u64),
            Err(duplicate) => Sqe::new(io_uring::opcode::FSetXattr::CODE).fd(duplicate.number()?),
        };
        *sqe = entry.addr(self.name.as_ptr() as u64).offset(self.value.as_ptr() as u64).len(len).op_flags(self.flags);
        Ok(())
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        Next::unless_interrupted(cqe)
    }

    fn complete(self, cqe: Cqe) -> io::Result<()> {
        cqe.ok().map(drop)
    }

    /// On a file, once dropped, it is waited for by what changes that next.
    fn lane(&self) -> Lane {
        match self.of {
            Ok(_) => Lane::Free,
            Err(_) => Lane::WriteAt { start: 0, end: u64::MAX },
        }
    }
}
