//! What the kernel writes about a message besides its bytes.

use std::mem;

use crate::sys::RawAddress;

/// Cells that are kept for the next messages; what a burst needed beyond is freed.
const KEPT: usize = 256;

/// A message header and what it points to. The kernel reads and writes it until the operation is over, so it has an address
/// of its own: lent by the loop to an operation, and given back.
pub(crate) struct MessageCell {
    header: libc::msghdr,
    part: libc::iovec,
    name: RawAddress,
    /// Control messages, aligned for them.
    control: Vec<u64>,
}

// SAFETY: its pointers point into itself or into a buffer that whoever arms it owns, and are followed by the kernel only.
unsafe impl Send for MessageCell {}
// SAFETY: as above; shared, it is only read.
unsafe impl Sync for MessageCell {}

impl std::fmt::Debug for MessageCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessageCell").field("name", &self.name).finish_non_exhaustive()
    }
}

impl MessageCell {
    fn new() -> MessageCell {
        // SAFETY: a message header is plain numbers and pointers, for which zero is valid.
        let header: libc::msghdr = unsafe { mem::zeroed() };
        let part = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        MessageCell { header, part, name: RawAddress::none(), control: Vec::new() }
    }

    /// Prepares it for a message of these bytes; gives the address for the entry.
    fn arm(&mut self, address: u64, len: u32, control_bytes: usize) -> u64 {
        self.part = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: len as usize };
        self.header.msg_name = (&raw mut self.name.storage).cast();
        self.header.msg_namelen = self.name.len;
        self.header.msg_iov = &raw mut self.part;
        self.header.msg_iovlen = 1;
        self.header.msg_control = self.control.as_mut_ptr().cast();
        self.header.msg_controllen = control_bytes as _;
        self.header.msg_flags = 0;
        &raw mut self.header as u64
    }

    /// For a message that is received into `len` bytes at `address`.
    pub(crate) fn arm_receive(&mut self, address: u64, len: u32, control_bytes: usize) -> u64 {
        self.control.resize(control_bytes.div_ceil(size_of::<u64>()), 0);
        self.name = RawAddress::room();
        self.arm(address, len, control_bytes)
    }

    /// The same into several parts, at most 1,024.
    pub(crate) fn arm_receive_vectored(&mut self, parts: u64, count: usize, control_bytes: usize) -> u64 {
        let header = self.arm_receive(0, 0, control_bytes);
        self.header.msg_iov = parts as *mut libc::iovec;
        self.header.msg_iovlen = count as _;
        header
    }

    /// For messages that are received one after the other, each into a buffer that the kernel picks: only the sizes count.
    pub(crate) fn arm_many(&mut self, name_bytes: usize, control_bytes: usize) -> u64 {
        let header = self.arm(0, 0, control_bytes);
        self.header.msg_name = std::ptr::null_mut();
        self.header.msg_control = std::ptr::null_mut();
        self.header.msg_iovlen = 0;
        self.header.msg_namelen = name_bytes as libc::socklen_t;
        header
    }

    /// For a message that is sent, with these control messages.
    pub(crate) fn arm_send(&mut self, address: u64, len: u32, to: Option<RawAddress>, control: &[&[u8]]) -> u64 {
        self.control.clear();
        for bytes in control {
            let words = bytes.chunks_exact(size_of::<u64>());
            debug_assert!(words.remainder().is_empty(), "control messages fill whole words");
            self.control.extend(words.map(|word| u64::from_ne_bytes(word.try_into().expect("as long as a word"))));
        }
        self.name = to.unwrap_or(RawAddress::none());
        self.arm(address, len, self.control.len() * size_of::<u64>())
    }

    /// Where the received message came from.
    pub(crate) fn name(&self) -> RawAddress {
        RawAddress { len: self.header.msg_namelen, ..self.name }
    }

    /// `MSG_*` flags of the received message.
    pub(crate) fn flags(&self) -> i32 {
        self.header.msg_flags
    }

    /// The control messages that came with it.
    pub(crate) fn control(&self) -> &[u8] {
        #[allow(clippy::unnecessary_cast, reason = "C libraries differ")]
        let len = (self.header.msg_controllen as usize).min(self.control.len() * size_of::<u64>());
        // SAFETY: so many bytes of the vector are initialised, and bytes have no invalid values.
        unsafe { std::slice::from_raw_parts(self.control.as_ptr().cast(), len) }
    }
}

/// The cells of a loop that are not lent.
#[derive(Default)]
#[allow(clippy::vec_box, reason = "each has its address, also while it is lent")]
pub(crate) struct Cells(Vec<Box<MessageCell>>);

impl Cells {
    pub(crate) fn lend(&mut self) -> Box<MessageCell> {
        self.0.pop().unwrap_or_else(|| Box::new(MessageCell::new()))
    }

    /// Takes one back; gives it to be freed if there are enough.
    pub(crate) fn give_back(&mut self, cell: Box<MessageCell>) {
        if self.0.len() < KEPT {
            self.0.push(cell);
        }
    }
}
