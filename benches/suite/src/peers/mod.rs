//! The runtimes, a file each.

#[cfg(feature = "compio")]
mod compio;
#[cfg(feature = "glommio")]
mod glommio;
#[cfg(feature = "kimojio")]
mod kimojio;
mod leases;
#[cfg(feature = "monoio")]
mod monoio;
mod registered;
mod ringtoss;
#[cfg(feature = "smol")]
mod smol;
mod spin;
mod splices;
#[cfg(feature = "tokio")]
mod tokio;
#[cfg(feature = "tokio-uring")]
mod tokio_uring;

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::task::Poll;

use crate::buffers::Block;
use crate::candidate::{Candidate, Kind};
use crate::runtime::How;

/// All of them, in the order in which they are shown before anything is measured.
pub fn all() -> Vec<Candidate> {
    vec![
        Candidate::runtime::<ringtoss::Ringtoss>("ringtoss", "ringtoss", Kind::Ours, "as it comes"),
        leases::candidate(),
        registered::candidate(),
        splices::candidate(),
        spin::candidate(),
        #[cfg(feature = "tokio")]
        Candidate::runtime::<tokio::Tokio<false>>("tokio", "tokio", Kind::Peer, "current-thread; files by its pool"),
        #[cfg(feature = "tokio")]
        Candidate::runtime::<tokio::Tokio<true>>(
            "tokio-mt",
            "tokio",
            Kind::Peer,
            "multi-thread, a worker a CPU; files by its pool",
        ),
        #[cfg(feature = "monoio")]
        Candidate::runtime::<monoio::Monoio<false>>("monoio", "monoio", Kind::Peer, "defaults"),
        #[cfg(feature = "monoio")]
        Candidate::runtime::<monoio::Monoio<true>>(
            "monoio+",
            "monoio",
            Kind::Peer,
            "SINGLE_ISSUER, DEFER_TASKRUN, timers only if used",
        ),
        #[cfg(feature = "compio")]
        Candidate::runtime::<compio::Compio<false>>("compio", "compio", Kind::Peer, "defaults"),
        #[cfg(feature = "compio")]
        Candidate::runtime::<compio::Compio<true>>("compio+", "compio", Kind::Peer, "single_issuer, defer_taskrun"),
        #[cfg(feature = "glommio")]
        Candidate::runtime::<glommio::Glommio>("glommio", "glommio", Kind::Peer, "defaults"),
        #[cfg(feature = "tokio-uring")]
        Candidate::runtime::<tokio_uring::TokioUring<false>>("tokio-uring", "tokio-uring", Kind::Peer, "defaults"),
        #[cfg(feature = "tokio-uring")]
        Candidate::runtime::<tokio_uring::TokioUring<true>>(
            "tokio-uring+",
            "tokio-uring",
            Kind::Peer,
            "SINGLE_ISSUER, COOP_TASKRUN, 1,024 entries",
        ),
        #[cfg(feature = "kimojio")]
        Candidate::runtime::<kimojio::Kimojio>("kimojio", "kimojio", Kind::Peer, "setup_single_issuer"),
        #[cfg(feature = "smol")]
        Candidate::runtime::<smol::Smol>("smol", "smol", Kind::Peer, "LocalExecutor; files by its pool"),
    ]
}

/// A listener of std's on a free port, for runtimes that take one. Its backlog is 4,096 (std's own, since 1.65, or more).
#[allow(dead_code, reason = "for peers that may be left out")]
fn listener() -> io::Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0")
}

/// For runtimes without a yield of their own.
#[allow(dead_code, reason = "for peers that may be left out")]
fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// A positional read that blocks, for pools.
#[allow(dead_code, reason = "for peers that may be left out")]
fn pread(file: &File, mut buf: Block, offset: u64) -> (io::Result<usize>, Block) {
    let result = file.read_at(buf.whole(), offset);
    buf.set_len(*result.as_ref().unwrap_or(&0));
    (result, buf)
}

/// The same of a file's beginning, into a vector.
#[allow(dead_code, reason = "for peers that may be left out")]
fn read_start(file: &File, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
    let result = file.read_at(crate::runtime::whole(&mut buf), 0);
    buf.truncate(*result.as_ref().unwrap_or(&0));
    (result, buf)
}

/// The same of a write.
#[allow(dead_code, reason = "for peers that may be left out")]
fn pwrite(file: &File, buf: Block, offset: u64) -> (io::Result<usize>, Block) {
    (file.write_at(buf.bytes(), offset), buf)
}

/// A file is made, written and closed.
#[allow(dead_code, reason = "for peers that may be left out")]
fn write_file(path: &Path, buf: Block) -> (io::Result<usize>, Block) {
    match (How { write: true, create: true, direct: false }).open(path) {
        Ok(file) => pwrite(&file, buf, 0),
        Err(error) => (Err(error), buf),
    }
}

/// A file is opened, read and closed.
#[allow(dead_code, reason = "for peers that may be left out")]
fn read_file(path: &Path, buf: Block) -> (io::Result<usize>, Block) {
    match How::default().open(path) {
        Ok(file) => pread(&file, buf, 0),
        Err(error) => (Err(error), buf),
    }
}
