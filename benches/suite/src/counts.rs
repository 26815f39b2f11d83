//! What a process does, counted: by the kernel's tracepoints and by the allocator. No clock is involved, so nothing that
//! the machine does meanwhile blurs it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::sys;

/// Per operation. `None` where the kernel does not let us count.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub system_calls: Option<f64>,
    /// Entries that a ring took.
    pub submissions: Option<f64>,
    /// Of those, what went to a worker thread of the kernel.
    pub punts: Option<f64>,
    pub context_switches: Option<f64>,
    pub allocations: Option<f64>,
}

/// Counters of all threads of a process, and of those that they start.
pub struct Counters {
    system_calls: Vec<File>,
    submissions: Vec<File>,
    punts: Vec<File>,
    context_switches: Vec<File>,
}

const TRACEPOINT: u32 = 2;
const SOFTWARE: u32 = 1;
const CONTEXT_SWITCHES: u64 = 3;

impl Counters {
    pub fn on(pid: u32) -> Counters {
        let threads: Vec<u32> = fs::read_dir(format!("/proc/{pid}/task"))
            .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
            .unwrap_or_default();
        let tracepoint = |name: &str| {
            let id = tracepoint_id(name);
            id.map_or(Vec::new(), |id| open_all(&threads, TRACEPOINT, id))
        };
        Counters {
            system_calls: tracepoint("raw_syscalls/sys_enter"),
            submissions: tracepoint("io_uring/io_uring_submit_req"),
            punts: tracepoint("io_uring/io_uring_queue_async_work"),
            context_switches: open_all(&threads, SOFTWARE, CONTEXT_SWITCHES),
        }
    }

    pub fn per_op(&self, ops: u64, allocations: Option<u64>) -> Counts {
        let each = |count: u64| count as f64 / ops.max(1) as f64;
        let sum = |files: &[File]| {
            let counts: Option<Vec<u64>> = files.iter().map(read_count).collect();
            counts.filter(|counts| !counts.is_empty()).map(|counts| each(counts.iter().sum()))
        };
        Counts {
            system_calls: sum(&self.system_calls),
            submissions: sum(&self.submissions),
            punts: sum(&self.punts),
            context_switches: sum(&self.context_switches),
            allocations: allocations.map(each),
        }
    }
}

fn tracepoint_id(name: &str) -> Option<u64> {
    ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|root| fs::read_to_string(format!("{root}/events/{name}/id")).ok()?.trim().parse().ok())
}

fn open_all(threads: &[u32], kind: u32, config: u64) -> Vec<File> {
    let files: io::Result<Vec<File>> = threads.iter().map(|&thread| open(thread, kind, config)).collect();
    files.unwrap_or_default()
}

/// `perf_event_open(2)`: counts one kind of event of a thread and of those that it starts.
fn open(thread: u32, kind: u32, config: u64) -> io::Result<File> {
    /// The first published version of `struct perf_event_attr`, which every kernel takes.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        kind: u32,
        size: u32,
        config: u64,
        sample: [u64; 3],
        flags: u64,
        rest: [u64; 2],
    }
    const INHERIT: u64 = 1 << 1;
    let size = size_of::<Attributes>() as u32;
    let attributes = Attributes { kind, size, config, flags: INHERIT, ..Attributes::default() };
    // SAFETY: the struct is as long as it says, and only read.
    let fd = unsafe {
        let any_cpu: libc::c_int = -1;
        let no_group: libc::c_int = -1;
        let cloexec: libc::c_ulong = 8;
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, any_cpu, no_group, cloexec)
    };
    let fd = sys::check(fd as libc::c_int)?;
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn read_count(mut file: &File) -> Option<u64> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes).ok()?;
    Some(u64::from_ne_bytes(bytes))
}

// ---- allocations ----------------------------------------------------------------------------------------------

/// The system's allocator, the same for all; it counts when it is told to, which is not while times are taken.
pub struct Allocator;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Counts from now on, from 0; or stops, and gives how many there were.
pub fn count_allocations(on: bool) -> u64 {
    COUNTING.store(on, Ordering::SeqCst);
    ALLOCATIONS.swap(0, Ordering::SeqCst)
}

fn count() {
    if COUNTING.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
