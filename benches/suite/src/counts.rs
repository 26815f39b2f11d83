//! What a process does, counted: by the kernel's tracepoints and by the allocator. No clock is involved, so nothing that
//! the machine does meanwhile blurs it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CStr, CString};
use std::fs;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::sys;

/// Per operation. `None` where the kernel does not let us count.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    pub system_calls: Option<f64>,
    /// Of those, `io_uring_enter`.
    #[serde(default)]
    pub enters: Option<f64>,
    /// Entries that a ring took.
    pub submissions: Option<f64>,
    /// Of those, what went to a worker thread of the kernel.
    pub punts: Option<f64>,
    pub context_switches: Option<f64>,
    /// Of its CPU by other CPUs: rescheduling and function calls, whoever they were for.
    #[serde(default)]
    pub interrupts: Option<f64>,
    pub allocations: Option<f64>,
}

impl Counts {
    /// In the order in which they are declared.
    pub fn fields(&self) -> [Option<f64>; 7] {
        let Counts { system_calls, enters, submissions, punts, context_switches, interrupts, allocations } = *self;
        [system_calls, enters, submissions, punts, context_switches, interrupts, allocations]
    }

    fn of(fields: [Option<f64>; 7]) -> Counts {
        let [system_calls, enters, submissions, punts, context_switches, interrupts, allocations] = fields;
        Counts { system_calls, enters, submissions, punts, context_switches, interrupts, allocations }
    }

    /// The median of several windows, and the distance between the least and the most.
    pub fn summary(windows: &[Counts]) -> Option<(Counts, Counts)> {
        let (mut median, mut spread) = ([None; 7], [None; 7]);
        for field in 0..7 {
            let values: Option<Vec<f64>> = windows.iter().map(|counts| counts.fields()[field]).collect();
            let Some(mut values) = values.filter(|values| !values.is_empty()) else { continue };
            values.sort_by(f64::total_cmp);
            median[field] = Some(values[values.len() / 2]);
            spread[field] = Some(values[values.len() - 1] - values[0]);
        }
        (!windows.is_empty()).then(|| (Counts::of(median), Counts::of(spread)))
    }
}

/// Counters of all threads of a process, and of those that they start.
pub struct Counters {
    /// By field of [`Counts`], as far as the kernel lets us: calls, `io_uring_enter`, submissions, punts, context switches.
    files: [Vec<File>; 5],
    /// What anybody may read is of the process and its CPU.
    pid: u32,
    cpu: usize,
    /// The numbers when counting began.
    before: [Option<u64>; 6],
}

const TRACEPOINT: u32 = 2;
const SOFTWARE: u32 = 1;
const CONTEXT_SWITCHES: u64 = 3;

impl Counters {
    /// Of a process that runs on this CPU.
    pub fn on(pid: u32, cpu: usize) -> Counters {
        let threads: Vec<u32> = fs::read_dir(format!("/proc/{pid}/task"))
            .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
            .unwrap_or_default();
        let tracepoint = |name: &str, filter: Option<&CStr>| {
            let id = tracepoint_id(name);
            id.map_or(Vec::new(), |id| open_all(&threads, TRACEPOINT, id, filter))
        };
        let enter = CString::new(format!("id == {}", libc::SYS_io_uring_enter)).expect("a number");
        let files = [
            tracepoint("raw_syscalls/sys_enter", None),
            tracepoint("raw_syscalls/sys_enter", Some(&enter)),
            tracepoint("io_uring/io_uring_submit_req", None),
            tracepoint("io_uring/io_uring_queue_async_work", None),
            open_all(&threads, SOFTWARE, CONTEXT_SWITCHES, None),
        ];
        Counters { files, pid, cpu, before: [None; 6] }
    }

    /// Counting begins.
    pub fn begin(&mut self) {
        self.before = self.now();
    }

    /// What there was since it began.
    pub fn per_op(&self, ops: u64, allocations: Option<u64>) -> Counts {
        let each = |count: u64| count as f64 / ops.max(1) as f64;
        let now = self.now();
        let since = |at: usize| Some(each(now[at]?.saturating_sub(self.before[at]?)));
        Counts {
            system_calls: since(0),
            enters: since(1),
            submissions: since(2),
            punts: since(3),
            context_switches: since(4),
            interrupts: since(5),
            allocations: allocations.map(each),
        }
    }

    fn now(&self) -> [Option<u64>; 6] {
        let sum = |at: usize| {
            let counts: Option<Vec<u64>> = self.files[at].iter().map(read_count).collect();
            counts.filter(|counts| !counts.is_empty()).map(|counts| counts.iter().sum())
        };
        let switches = sum(4).or_else(|| switches_of(self.pid));
        [sum(0), sum(1), sum(2), sum(3), switches, interrupts_of(self.cpu)]
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        // The kernel takes a tenth of a second until nobody can be in a tracepoint any more. It sleeps meanwhile.
        let files = std::mem::take(&mut self.files);
        if files.iter().any(|files| !files.is_empty()) {
            std::thread::spawn(move || drop(files));
        }
    }
}

/// Context switches of the threads that live, as the kernel tells everybody.
fn switches_of(pid: u32) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of_thread = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let lines = status.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>()
    };
    Some(threads.flatten().map(of_thread).sum())
}

/// Interrupts that other CPUs have sent to this one.
fn interrupts_of(cpu: usize) -> Option<u64> {
    count_interrupts(&fs::read_to_string("/proc/interrupts").ok()?, cpu)
}

fn count_interrupts(table: &str, cpu: usize) -> Option<u64> {
    let name = format!("CPU{cpu}");
    let column = table.lines().next()?.split_whitespace().position(|head| head == name)?;
    let between = |line: &&str| line.contains("Rescheduling interrupts") || line.contains("Function call interrupts");
    let counts = table.lines().filter(between).map(|line| line.split_whitespace().nth(column + 1)?.parse::<u64>().ok());
    counts.collect::<Option<Vec<u64>>>().filter(|counts| !counts.is_empty()).map(|counts| counts.iter().sum())
}

fn tracepoint_id(name: &str) -> Option<u64> {
    ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .find_map(|root| fs::read_to_string(format!("{root}/events/{name}/id")).ok()?.trim().parse().ok())
}

fn open_all(threads: &[u32], kind: u32, config: u64, filter: Option<&CStr>) -> Vec<File> {
    let files: io::Result<Vec<File>> = threads.iter().map(|&thread| open(thread, kind, config, filter)).collect();
    files.unwrap_or_default()
}

/// `perf_event_open(2)`: counts one kind of event of a thread and of those that it starts.
fn open(thread: u32, kind: u32, config: u64, filter: Option<&CStr>) -> io::Result<File> {
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
    let file = unsafe { File::from_raw_fd(fd) };
    if let Some(filter) = filter {
        /// `PERF_EVENT_IOC_SET_FILTER`: `_IOW('$', 6, char *)`.
        const SET_FILTER: libc::Ioctl = 0x4008_2406;
        // SAFETY: reads the string that it is given.
        sys::check(unsafe { libc::ioctl(file.as_raw_fd(), SET_FILTER, filter.as_ptr()) })?;
    }
    Ok(file)
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
static BYTES: AtomicI64 = AtomicI64::new(0);

/// Counts from now on, from 0; or stops, and gives how many there were.
pub fn count_allocations(on: bool) -> u64 {
    COUNTING.store(on, Ordering::SeqCst);
    ALLOCATIONS.swap(0, Ordering::SeqCst)
}

/// What is done meanwhile is not counted.
pub fn uncounted<T>(errand: impl FnOnce() -> T) -> T {
    let was_counting = COUNTING.swap(false, Ordering::SeqCst);
    let output = errand();
    COUNTING.store(was_counting, Ordering::SeqCst);
    output
}

/// What the process allocates and does not give back while this lives.
pub struct Scales {
    was_counting: bool,
    before: i64,
}

impl Scales {
    pub fn set_up() -> Scales {
        let was_counting = COUNTING.swap(true, Ordering::SeqCst);
        Scales { was_counting, before: BYTES.load(Ordering::SeqCst) }
    }

    /// In bytes.
    pub fn read(self) -> i64 {
        COUNTING.store(self.was_counting, Ordering::SeqCst);
        BYTES.load(Ordering::SeqCst) - self.before
    }
}

fn count(allocations: u64, bytes: i64) {
    if COUNTING.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
        BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_those_of_the_cpu_that_other_cpus_sent() {
        let table = "           CPU0       CPU2\n 24:   9   9  IO-APIC   5-edge  ACPI\nLOC:  7  8  Local timer interrupts\n\
                     RES:   5   6   Rescheduling interrupts\nCAL:   10   20   Function call interrupts\n";
        assert_eq!(count_interrupts(table, 0), Some(15));
        assert_eq!(count_interrupts(table, 2), Some(26));
        assert_eq!(count_interrupts(table, 1), None);
        assert!(interrupts_of(sys::allowed_cpus()[0]).is_some(), "this kernel's own table");
        assert!(switches_of(std::process::id()).is_some_and(|switches| switches > 0));
    }

    #[test]
    fn counts_are_summed_up_as_median_and_range() {
        let counts = |calls, allocations| Counts { system_calls: calls, allocations, ..Counts::default() };
        let windows = [counts(Some(2.0), None), counts(Some(1.0), Some(1.0)), counts(Some(4.0), Some(1.0))];
        let (median, range) = Counts::summary(&windows).unwrap();
        assert_eq!((median.system_calls, range.system_calls), (Some(2.0), Some(3.0)));
        assert_eq!(median.allocations, None, "it could not be counted once");
        assert!(Counts::summary(&[]).is_none());
    }
}
