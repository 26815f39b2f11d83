//! What benches of raw rings share.

use io_uring::IoUring;
use rustix::time::{ClockId, clock_gettime};

/// A ring as a loop on one thread wants it.
pub fn ring() -> IoUring {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_coop_taskrun().setup_submit_all();
    let modern = builder.clone().setup_no_sqarray().build(256);
    modern.or_else(|_| builder.build(256)).expect("a ring")
}

/// The CPU time of this thread.
pub fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
