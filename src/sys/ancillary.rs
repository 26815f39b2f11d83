//! Control messages: what travels beside the bytes of a message, `cmsg(3)`. Laid out by hand, so that they can be read
//! from bytes wherever these lie.

use std::os::fd::{AsRawFd, OwnedFd};

use super::own;

/// `struct cmsghdr`: length with the header, level, type. What follows is aligned as the length is.
const HEADER_BYTES: usize = size_of::<usize>() + 2 * size_of::<i32>();
const ALIGN: usize = size_of::<usize>();

/// What a control message with so much data takes.
pub(crate) const fn space(data_bytes: usize) -> usize {
    HEADER_BYTES + data_bytes.next_multiple_of(ALIGN)
}

/// Writes a control message to the start of `to`, which has room for it; gives what it takes.
pub(crate) fn put(to: &mut [u8], level: i32, kind: i32, data: &[u8]) -> usize {
    let (len, rest) = to.split_at_mut(size_of::<usize>());
    len.copy_from_slice(&(HEADER_BYTES + data.len()).to_ne_bytes());
    rest[..4].copy_from_slice(&level.to_ne_bytes());
    rest[4..8].copy_from_slice(&kind.to_ne_bytes());
    rest[8..8 + data.len()].copy_from_slice(data);
    space(data.len())
}

/// Level, type and data of each control message. Ends at one that is cut off in its header; one whose data are cut off
/// has what is there.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk()?;
        let (level, rest) = rest.split_first_chunk()?;
        let (kind, _) = rest.split_first_chunk()?;
        let len = usize::from_ne_bytes(*len).clamp(HEADER_BYTES, bytes.len());
        let data = &bytes[HEADER_BYTES..len];
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind), data))
    })
}

/// The number at the start of a control message's data.
pub(crate) fn number(data: &[u8]) -> Option<i32> {
    // The type of service comes as one byte from IPv4, the traffic class as an `int` from IPv6.
    match data {
        [byte] => Some(i32::from(*byte)),
        _ => data.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)),
    }
}

/// The sender's process, for who has set `SO_PASSPIDFD` (6.5).
const SCM_PIDFD: libc::c_int = 4;

/// Whether the data are descriptors of ours.
pub(crate) fn is_rights((level, kind, _): (i32, i32, &[u8])) -> bool {
    level == libc::SOL_SOCKET && (kind == libc::SCM_RIGHTS || kind == SCM_PIDFD)
}

/// Takes the descriptors that came with a message (`SCM_RIGHTS`) into ownership: to be called once for it.
fn rights(bytes: &[u8]) -> Vec<OwnedFd> {
    let rights = messages(bytes).filter(|&message| is_rights(message));
    let numbers = rights.flat_map(|(_, _, data)| data.chunks_exact(4)).filter_map(number);
    // In place of a sender's descriptor there may be an error: it is gone, or there are too many open files.
    numbers.filter(|&fd| fd >= 0).map(own).collect()
}

/// The control messages that the kernel has given with a message. Descriptors among them that nobody takes are closed.
#[derive(Debug)]
pub(crate) struct Control<B: AsRef<[u8]>> {
    bytes: B,
    rights_are_here: bool,
}

impl<B: AsRef<[u8]>> Control<B> {
    /// To be called once for what the kernel gave.
    pub(crate) fn new(bytes: B) -> Control<B> {
        let rights_are_here = !bytes.as_ref().is_empty();
        Control { bytes, rights_are_here }
    }

    /// One in which no descriptors are, whatever it says.
    #[cfg(any(fuzzing, all(test, not(loom))))]
    pub(crate) fn of_nobodys(bytes: B) -> Control<B> {
        Control { bytes, rights_are_here: false }
    }

    pub(crate) fn messages(&self) -> impl Iterator<Item = (i32, i32, &[u8])> {
        messages(self.bytes.as_ref())
    }

    /// A copy of the bytes, without the descriptors that they may name.
    pub(crate) fn without_rights(&self) -> Control<Box<[u8]>> {
        Control { bytes: self.bytes.as_ref().into(), rights_are_here: false }
    }

    pub(crate) fn has_rights(&self) -> bool {
        self.rights_are_here && self.messages().any(is_rights)
    }

    /// The descriptors, once.
    pub(crate) fn take_rights(&mut self) -> Vec<OwnedFd> {
        if std::mem::take(&mut self.rights_are_here) { rights(self.bytes.as_ref()) } else { Vec::new() }
    }

    /// The same, in memory of its own.
    pub(crate) fn into_boxed(mut self) -> Control<Box<[u8]>> {
        let rights_are_here = std::mem::take(&mut self.rights_are_here);
        Control { bytes: self.bytes.as_ref().into(), rights_are_here }
    }

    /// The same, with the descriptors.
    pub(crate) fn hand_over(&mut self) -> Control<&[u8]> {
        let rights_are_here = std::mem::take(&mut self.rights_are_here);
        Control { bytes: self.bytes.as_ref(), rights_are_here }
    }
}

impl<B: AsRef<[u8]>> Drop for Control<B> {
    fn drop(&mut self) {
        drop(self.take_rights());
    }
}

/// Adds a control message behind those that are there.
pub(crate) fn append(to: &mut Vec<u8>, level: i32, kind: i32, data: &[u8]) {
    let start = to.len();
    to.resize(start + space(data.len()), 0);
    put(&mut to[start..], level, kind, data);
}

/// The control message that sends descriptors; nothing if there are none.
pub(crate) fn sending_rights(fds: &[OwnedFd]) -> Vec<u8> {
    let data: Vec<u8> = fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes()).collect();
    let mut bytes = vec![0; if fds.is_empty() { 0 } else { space(data.len()) }];
    if !fds.is_empty() {
        put(&mut bytes, libc::SOL_SOCKET, libc::SCM_RIGHTS, &data);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_come_back_as_they_were_added() {
        let mut bytes = Vec::new();
        append(&mut bytes, 1, 2, b"abc");
        append(&mut bytes, 3, 4, b"");
        append(&mut bytes, 5, 6, &77i32.to_ne_bytes());
        assert_eq!(bytes.len(), space(3) + space(0) + space(4));
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!(all[..2], [(1, 2, &b"abc"[..]), (3, 4, &b""[..])]);
        assert_eq!((all.len(), number(all[2].2), number(&[9])), (3, Some(77), Some(9)));
    }

    #[test]
    fn what_is_cut_off_is_not_read() {
        let mut bytes = Vec::new();
        append(&mut bytes, 1, 2, b"abcdefgh");
        for len in 0..bytes.len() {
            let all: Vec<_> = messages(&bytes[..len]).collect();
            assert!(all.len() <= 1 && all.iter().all(|(_, _, data)| data.len() <= len));
        }
        // A length of nonsense neither panics nor goes on for ever.
        bytes[..8].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert_eq!(messages(&bytes).count(), 1);
        bytes[..8].copy_from_slice(&0u64.to_ne_bytes());
        assert!(messages(&bytes).count() <= 2);
    }

    /// The C library agrees about the layout.
    #[test]
    fn the_layout_is_that_of_the_system() {
        assert_eq!(HEADER_BYTES, size_of::<libc::cmsghdr>());
        for len in 0..40 {
            // SAFETY: it computes.
            assert_eq!(space(len), unsafe { libc::CMSG_SPACE(len as u32) } as usize);
        }
    }
}
