//! What the kernel gives without a runtime: the same work by hand, on the ring and by system calls.

mod epoll_server;
mod fio;
mod multishot;
mod raw;
mod ring_server;
mod syscalls;

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::candidate::{Candidate, Kind, Ready};
use crate::work::Work;

pub fn all() -> Vec<Candidate> {
    vec![
        Candidate {
            name: "raw ring",
            package: "io-uring",
            kind: Kind::Limit,
            setup: "a loop on the io-uring crate: SINGLE_ISSUER, DEFER_TASKRUN, one-shot receives",
            can: |work| work.is_server() || matches!(work, Work::Nop { .. }) || on_files(work),
            serve: ring_server::serve,
            window: raw::window,
        },
        Candidate {
            name: "raw multishot",
            package: "io-uring",
            kind: Kind::Limit,
            setup: "the same with multishot accept and receive and a ring of buffers",
            can: |work| work.is_server() && !matches!(work, Work::FileServer { .. } | Work::Mixed { .. }),
            serve: multishot::serve,
            window: |_, _, _| unreachable!("it only serves"),
        },
        Candidate {
            name: "raw registered",
            package: "io-uring",
            kind: Kind::Limit,
            setup: "the raw ring with the file and its buffers registered",
            can: |work| matches!(work, Work::Blocks(_)),
            serve: |_, _, _| unreachable!("it does not serve"),
            window: raw::registered_window,
        },
        Candidate {
            name: "syscalls",
            package: "libc",
            kind: Kind::Limit,
            setup: "a loop on epoll, sendfile, recvmmsg and sendmmsg; files one call after the other",
            can: |work| match work {
                Work::Blocks(blocks) => blocks.in_flight == 1,
                Work::Small { .. } | Work::Stat { .. } | Work::Copy => true,
                work => work.is_server(),
            },
            serve: epoll_server::serve,
            window: syscalls::window,
        },
        Candidate {
            name: "fio",
            package: "",
            kind: Kind::Limit,
            setup: "where it is installed: its io_uring engine",
            can: |work| matches!(work, Work::Blocks(_)) && fio::is_installed(),
            serve: |_, _, _| unreachable!("it does not serve"),
            window: fio::window,
        },
    ]
}

fn on_files(work: &Work) -> bool {
    matches!(work, Work::Blocks(_) | Work::Small { .. } | Work::Stat { .. })
}

/// Listens, at a free port or at a path, and says so.
fn listen(work: Work, path: &Path, ready: Ready) -> OwnedFd {
    if matches!(work, Work::Unix { .. }) {
        let listener = UnixListener::bind(path).expect("a path to listen at");
        ready(0);
        return listener.into();
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port to listen on");
    ready(listener.local_addr().expect("an address").port());
    listener.into()
}
