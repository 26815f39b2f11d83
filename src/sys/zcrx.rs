//! What zero-copy receive is made of besides its ring (zcrx of `io_uring_register(2)`): the memory that a network card
//! receives into, and the queue by which pieces of it go back.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::ring::Mapping;
use super::{page_size, register};

const REGISTER_ZCRX_IFQ: libc::c_uint = 32;
const REGISTER_ZCRX_CTRL: libc::c_uint = 36;
/// `IORING_MEM_REGION_TYPE_USER`.
const MEMORY_OF_USER: u32 = 1;
/// `ZCRX_REG_NODEV`.
const WITHOUT_CARD: u32 = 2;
/// Below these bits of a completion's offset is the place in the memory.
const AREA_SHIFT: u32 = 48;
/// `IO_RQ_MAX_ENTRIES`.
const ENTRIES_AT_MOST: usize = 32_768;

/// `struct io_uring_region_desc`.
#[repr(C)]
#[derive(Default)]
struct Region {
    user_addr: u64,
    size: u64,
    flags: u32,
    id: u32,
    mmap_offset: u64,
    resv: [u64; 4],
}

/// `struct io_uring_zcrx_offsets`.
#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    entries: u32,
    resv2: u32,
    resv: [u64; 2],
}

/// `struct io_uring_zcrx_area_reg`.
#[repr(C)]
#[derive(Default)]
struct AreaReg {
    addr: u64,
    len: u64,
    token: u64,
    flags: u32,
    dmabuf_fd: u32,
    resv: [u64; 2],
}

/// `struct io_uring_zcrx_ifq_reg`.
#[repr(C)]
#[derive(Default)]
struct QueueReg {
    interface: u32,
    queue: u32,
    entries: u32,
    flags: u32,
    area: u64,
    region: u64,
    offsets: Offsets,
    id: u32,
    resv2: u32,
    resv: [u64; 3],
}

/// `struct io_uring_zcrx_rqe`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Refill {
    offset: u64,
    len: u32,
    pad: u32,
}

/// `struct zcrx_ctrl`, as `ZCRX_CTRL_FLUSH_RQ` (0) wants it.
#[repr(C)]
#[derive(Default)]
struct Control {
    id: u32,
    operation: u32,
    resv: [u64; 8],
}

const _: () = assert!(size_of::<Control>() == 72);
const _: () = assert!(size_of::<Region>() == 64 && size_of::<AreaReg>() == 48);
const _: () = assert!(size_of::<QueueReg>() == 96 && size_of::<Refill>() == 16);

/// The receive queue of a network card, by the number of its interface and its own; none if the kernel is to copy.
pub(crate) type Card = Option<(u32, u32)>;

/// The number of a network interface: `if_nametoindex(3)`.
pub(crate) fn interface_number(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the name ends with a NUL and lives over the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        number => Ok(number),
    }
}

/// Has the kernel look at what was given back (`IORING_REGISTER_ZCRX_CTRL`): a card does so when it wants memory, but what copies does
/// not. Kernels that cannot be told, which copy only beside a card, say that it is an error, and go without.
pub(crate) fn flush(ring: RawFd, id: u32) {
    let mut control = Control { id, ..Control::default() };
    // SAFETY: one structure that lives over the call is passed, of the size that the kernel reads and writes.
    let _ = unsafe { register(ring, REGISTER_ZCRX_CTRL, &raw mut control, 0) };
}

/// Memory that a network card receives into. The kernel owns all of it but the pieces that it has told of in completions, until
/// they are given back; those do not change meanwhile, also after the end of the ring. It stays mapped for as long as this lives.
pub(crate) struct Area {
    memory: Mapping,
    returns: Mutex<Returns>,
}

/// Whether a piece comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    Has,
    Will,
    /// None is out.
    Never,
}

/// The queue of what goes back.
struct Returns {
    /// Moved by the kernel, from another thread than the ring's as well.
    head: NonNull<AtomicU32>,
    tail: NonNull<AtomicU32>,
    entries: NonNull<Refill>,
    mask: u32,
    /// Where the tail is; nobody else moves it.
    own_tail: u32,
    /// What entries name the area by.
    token: u64,
    /// What did not fit.
    waiting: VecDeque<Refill>,
    /// How many pieces are out, and how many came back so far.
    out: usize,
    back: u64,
    /// Who wants to know that one came back.
    starved: Option<Waker>,
    _region: Mapping,
}

// SAFETY: the pointers are into memory that `_region` keeps mapped and that is ours alone but for the kernel; the fields that it
// changes are atomics.
unsafe impl Send for Returns {}
// SAFETY: what it is asked for is addresses; what lies there is guarded as said above, and the queue by its lock.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// Memory of so many bytes for the receives of a ring, with its number there: `IORING_REGISTER_ZCRX_IFQ`. The ring has
    /// completions of 32 bytes.
    pub(crate) fn register(ring: RawFd, card: Card, bytes: usize) -> io::Result<(Arc<Area>, u32)> {
        let page = page_size();
        let bytes = bytes.max(1).next_multiple_of(page);
        let memory = Mapping::anonymous(bytes)?;
        let entries = (bytes / page).next_power_of_two().clamp(8, ENTRIES_AT_MOST);
        // The head and the tail come first.
        let region = Mapping::anonymous((page + entries * size_of::<Refill>()).next_multiple_of(page))?;
        let mut area = AreaReg { addr: memory.bytes().0.as_ptr() as u64, len: bytes as u64, ..Default::default() };
        let mut described = Region {
            user_addr: region.bytes().0.as_ptr() as u64,
            size: region.bytes().1 as u64,
            flags: MEMORY_OF_USER,
            ..Default::default()
        };
        let (interface, queue) = card.unwrap_or((0, 0));
        let mut asked = QueueReg {
            interface,
            queue,
            entries: entries as u32,
            flags: if card.is_none() { WITHOUT_CARD } else { 0 },
            area: &raw mut area as u64,
            region: &raw mut described as u64,
            ..Default::default()
        };
        // SAFETY: the structures live over the call and have the sizes that the kernel reads and writes (asserted above). The
        // memory that they name is new, nobody reads or writes it but as the kernel hands it out, and it stays mapped: with the
        // ring, which has this value, and with each piece. (The kernel holds its pages besides.)
        unsafe { register(ring, REGISTER_ZCRX_IFQ, &raw mut asked, 1) }?;
        assert!(asked.entries.is_power_of_two() && asked.entries as usize >= entries, "the kernel rounds up");
        let offsets = &asked.offsets;
        let returns = Returns {
            head: region.field(offsets.head, 1),
            tail: region.field(offsets.tail, 1),
            entries: region.field(offsets.entries, asked.entries as usize),
            mask: asked.entries - 1,
            own_tail: 0,
            token: area.token,
            waiting: VecDeque::new(),
            out: 0,
            back: 0,
            starved: None,
            _region: region,
        };
        Ok((Arc::new(Area { memory, returns: Mutex::new(returns) }), asked.id))
    }

    fn returns(&self) -> MutexGuard<'_, Returns> {
        self.returns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a piece that a completion has told of, and its place.
    pub(crate) fn take(&self, offset: u64, len: usize) -> (NonNull<u8>, u64) {
        let place = offset & ((1 << AREA_SHIFT) - 1);
        let (start, bytes) = self.memory.bytes();
        let end = (place as usize).checked_add(len);
        assert!(end.is_some_and(|end| end <= bytes), "the kernel receives into the memory that it was given");
        self.returns().out += 1;
        // SAFETY: within the memory.
        (unsafe { start.add(place as usize) }, place)
    }

    /// Gives a piece back to the kernel.
    pub(crate) fn give_back(&self, place: u64, len: usize) {
        let mut returns = self.returns();
        let entry = Refill { offset: place | returns.token, len: len as u32, pad: 0 };
        returns.out -= 1;
        returns.back += 1;
        returns.waiting.push_back(entry);
        returns.flush();
        let starved = returns.starved.take();
        drop(returns);
        if let Some(waker) = starved {
            waker.wake();
        }
    }

    /// How many pieces came back so far.
    pub(crate) fn back(&self) -> u64 {
        self.returns().back
    }

    /// Has somebody woken when a piece comes back, if none has since it was counted and there is one to wait for.
    pub(crate) fn wake_at_return(&self, counted: u64, waker: Waker) -> Return {
        let mut returns = self.returns();
        if returns.back != counted {
            return Return::Has;
        }
        if returns.out == 0 {
            return Return::Never;
        }
        let before = returns.starved.replace(waker);
        drop(returns);
        drop(before);
        Return::Will
    }
}

impl Returns {
    /// Puts into the queue what fits.
    fn flush(&mut self) {
        // SAFETY: both lie in memory that `_region` keeps mapped, and are only ever used as atomics.
        let (head, tail) = unsafe { (self.head.as_ref(), self.tail.as_ref()) };
        let head = head.load(Ordering::Acquire);
        while self.own_tail.wrapping_sub(head) <= self.mask
            && let Some(entry) = self.waiting.pop_front()
        {
            let index = self.own_tail & self.mask;
            // SAFETY: the index is masked, so the entry lies within the queue; the kernel is done with what was there (the
            // acquire load of the head) and looks at nothing behind the tail.
            unsafe { self.entries.add(index as usize).write(entry) };
            self.own_tail = self.own_tail.wrapping_add(1);
        }
        tail.store(self.own_tail, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An area with a queue of four whose kernel is the test.
    fn area(first_index: u32) -> Area {
        let region = Mapping::anonymous(4096).unwrap();
        let (head, tail) = (region.field::<AtomicU32>(0, 1), region.field::<AtomicU32>(64, 1));
        // SAFETY: both lie within the mapping, which lives as long as the area.
        unsafe {
            head.as_ref().store(first_index, Ordering::Relaxed);
            tail.as_ref().store(first_index, Ordering::Relaxed);
        }
        let returns = Returns {
            head,
            tail,
            entries: region.field(128, 4),
            mask: 3,
            own_tail: first_index,
            token: 5 << AREA_SHIFT,
            waiting: VecDeque::new(),
            out: 0,
            back: 0,
            starved: None,
            _region: region,
        };
        Area { memory: Mapping::anonymous(16 << 10).unwrap(), returns: Mutex::new(returns) }
    }

    /// What the kernel takes off the queue.
    fn taken(area: &Area, at_most: usize) -> Vec<(u64, u32)> {
        let returns = area.returns();
        let mut taken = Vec::new();
        // SAFETY: as in `flush`; what lies before the tail is written.
        unsafe {
            let (head, tail) = (returns.head.as_ref(), returns.tail.as_ref().load(Ordering::Acquire));
            while head.load(Ordering::Relaxed) != tail && taken.len() < at_most {
                let index = head.load(Ordering::Relaxed) & returns.mask;
                let entry = returns.entries.add(index as usize).read();
                taken.push((entry.offset, entry.len));
                head.fetch_add(1, Ordering::Release);
            }
        }
        taken
    }

    #[test]
    fn what_goes_back_is_named_by_the_area_and_waits_for_room_across_the_wrap_of_the_indices() {
        for first_index in [0, u32::MAX - 2] {
            let area = area(first_index);
            let places: Vec<u64> =
                (0..7u32).map(|at| area.take((3 << AREA_SHIFT) | (u64::from(at) * 100), 100).1).collect();
            assert_eq!(places, [0, 100, 200, 300, 400, 500, 600]);
            for place in &places[..6] {
                area.give_back(*place, 100);
            }
            let named = |at: u64| ((5 << AREA_SHIFT) | (at * 100), 100);
            assert_eq!(taken(&area, 2), [named(0), named(1)]);
            // Now there is room for what had to wait.
            area.give_back(places[6], 100);
            assert_eq!(taken(&area, 9), [named(2), named(3), named(4), named(5)]);
            area.returns().flush();
            assert_eq!(taken(&area, 9), [named(6)]);
            assert_eq!(area.back(), 7);
            assert_eq!(area.returns().out, 0);
        }
    }

    #[test]
    fn who_finds_no_memory_is_told_of_what_comes_back() {
        let area = area(0);
        let waker = || Waker::noop().clone();
        assert_eq!(area.wake_at_return(0, waker()), Return::Never);
        let (_, first) = area.take(0, 10);
        let (_, second) = area.take(4096, 10);
        assert_eq!(area.wake_at_return(0, waker()), Return::Will);
        area.give_back(first, 10);
        assert!(area.returns().starved.is_none(), "it was woken");
        assert_eq!(area.wake_at_return(0, waker()), Return::Has);
        assert_eq!(area.wake_at_return(1, waker()), Return::Will);
        area.give_back(second, 10);
        assert_eq!(area.wake_at_return(2, waker()), Return::Never);
    }

    #[test]
    #[should_panic(expected = "the memory that it was given")]
    fn a_piece_outside_of_the_memory_is_no_lease() {
        area(0).take(16 << 10, 1);
    }
}
