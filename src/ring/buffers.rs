//! The ring by which the kernel is given buffers to pick from, `io_uring_register(2)` with `IORING_REGISTER_PBUF_RING`.

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::sys;
use crate::sys::ring::Mapping;

/// `struct io_uring_buf`. In the first one, `reserved` is the ring's tail.
#[repr(C)]
struct Entry {
    address: u64,
    len: u32,
    id: u16,
    reserved: u16,
}

const _: () = assert!(size_of::<Entry>() == 16);

/// Buffers on offer. It must be dropped before the ring that it belongs to.
pub(crate) struct BufferRing {
    entries: NonNull<Entry>,
    mask: u16,
    tail: u16,
    group: u16,
    ring_fd: RawFd,
    _memory: Mapping,
}

impl BufferRing {
    /// Registers an empty one with room for so many buffers, a power of two up to 32,768.
    pub(super) fn new(ring_fd: RawFd, group: u16, entries: usize) -> io::Result<BufferRing> {
        assert!(entries.is_power_of_two() && entries <= 1 << 15);
        let memory = Mapping::anonymous(entries * size_of::<Entry>())?;
        let start = memory.field::<Entry>(0, entries);
        sys::register_buffer_ring(ring_fd, start.as_ptr() as u64, entries as u32, group)?;
        Ok(BufferRing { entries: start, mask: (entries - 1) as u16, tail: 0, group, ring_fd, _memory: memory })
    }

    /// Offers a buffer, once [`BufferRing::publish`] is called. The kernel may write it until it hands it out in a
    /// completion. That it is not used otherwise meanwhile is its pool's invariant. There is room for every buffer.
    #[inline]
    pub(crate) fn push(&mut self, address: u64, len: u32, id: u16) {
        let index = self.tail & self.mask;
        // SAFETY: the index is masked, so the entry lies within the mapping, which lives as long as this. The kernel reads
        // entries only between its head and the tail that was published, and this one is behind. `reserved` is left
        // alone: in the first entry it is the tail.
        unsafe {
            let entry = self.entries.add(index as usize).as_ptr();
            (&raw mut (*entry).address).write(address);
            (&raw mut (*entry).len).write(len);
            (&raw mut (*entry).id).write(id);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was offered.
    #[inline]
    pub(crate) fn publish(&mut self) {
        // SAFETY: the first entry's last field is the tail; it is aligned for and only used as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(&raw mut (*self.entries.as_ptr()).reserved) };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // Before the memory goes: the kernel has it pinned, and picks nothing from it any more.
        sys::unregister_buffer_ring(self.ring_fd, self.group);
    }
}
