//! This crate with a file and buffers that are registered with the ring.

use std::io;
use std::path::Path;

use ringtoss::Builder;
use ringtoss::buf::{RegisteredBuf, RegisteredPool};

use crate::buffers::Buffer;
use crate::candidate::{Candidate, Kind};
use crate::runtime::{Files, How, Transfer};
use crate::work::{self, Work};

use super::ringtoss::{Ringtoss, Setting, With};

pub fn candidate() -> Candidate {
    Candidate {
        name: "ringtoss registered",
        package: "ringtoss",
        kind: Kind::Ours,
        setup: "File::register, buffers of a RegisteredPool",
        can: |work| matches!(work, Work::Blocks(_)),
        serve: |_, _, _| unreachable!("it does not serve"),
        window: work::window::<Registered>,
    }
}

type Registered = With<RegisteredFiles>;

struct RegisteredFiles;

impl Setting for RegisteredFiles {
    fn set(builder: Builder) -> Builder {
        builder.registered_files(true)
    }
}

/// A buffer of a pool, and the pool, which has to live as long.
struct Pooled {
    buf: RegisteredBuf,
    pool: RegisteredPool,
}

impl Buffer for Pooled {
    fn stamp(&mut self, number: u64) {
        self.buf.resize(self.buf.capacity(), 0);
        self.buf[..8].copy_from_slice(&number.to_ne_bytes());
    }

    fn stamped(&self) -> u64 {
        u64::from_ne_bytes(self.buf[..8].try_into().expect("eight bytes"))
    }
}

impl Files for Registered {
    type File = ringtoss::fs::File;
    type Buf = Pooled;

    fn buffers(bytes: usize, count: usize) -> Vec<Pooled> {
        let pool = RegisteredPool::new(bytes, count).expect("registered buffers");
        let take = |_| Pooled { buf: pool.try_take().expect("a registered buffer"), pool: pool.clone() };
        (0..count).map(take).collect()
    }

    async fn open(path: &Path, how: How) -> io::Result<Self::File> {
        let file = Ringtoss::open(path, how).await?;
        file.register();
        Ok(file)
    }

    async fn read_at(file: &Self::File, Pooled { buf, pool }: Pooled, offset: u64) -> Transfer<Self> {
        let (result, buf) = file.read_at(buf, offset).await;
        (result, Pooled { buf, pool })
    }

    async fn write_at(file: &Self::File, Pooled { buf, pool }: Pooled, offset: u64) -> Transfer<Self> {
        let (result, buf) = file.write_at(buf, offset).await;
        (result, Pooled { buf, pool })
    }

    async fn sync(file: &Self::File) -> io::Result<()> {
        Ringtoss::sync(file).await
    }

    async fn close(file: Self::File) -> io::Result<()> {
        Ringtoss::close(file).await
    }

    async fn unlink(path: &Path) -> io::Result<()> {
        Ringtoss::unlink(path).await
    }

    async fn stat(path: &Path) -> io::Result<u64> {
        Ringtoss::stat(path).await
    }
}
