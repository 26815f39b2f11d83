//! What the kernel gives without a runtime: the same work by hand, on the ring and on epoll.

mod epoll;
mod multishot;
mod raw;

use crate::candidate::{Candidate, Kind};
use crate::work::Work;

pub fn all() -> Vec<Candidate> {
    vec![
        Candidate {
            name: "raw ring",
            package: "io-uring",
            kind: Kind::Limit,
            setup: "a loop on the io-uring crate: SINGLE_ISSUER, DEFER_TASKRUN, one-shot receives that poll first",
            can: |work| matches!(work, Work::Echo { .. } | Work::Http | Work::Read { .. } | Work::Nop { .. }),
            serve: raw::serve,
            window: raw::window,
        },
        Candidate {
            name: "raw multishot",
            package: "io-uring",
            kind: Kind::Limit,
            setup: "the same with multishot accept and receive and a ring of buffers",
            can: Work::is_server,
            serve: multishot::serve,
            window: raw::window,
        },
        Candidate {
            name: "syscalls",
            package: "libc",
            kind: Kind::Limit,
            setup: "a loop on epoll; pread for files",
            can: |work| matches!(work, Work::Echo { .. } | Work::Http | Work::Read { in_flight: 1 }),
            serve: epoll::serve,
            window: epoll::window,
        },
    ]
}
