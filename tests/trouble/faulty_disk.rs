//! A disk that fails: a file system of our own, in another process, which answers each call as the test has told it to. Writes are
//! cut short, torn or refused, syncs fail, reads stop in the middle, and calls hang until they are let go.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use fuser::{
    FileAttr, FileType, Filesystem, KernelConfig, MountOption, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, TimeOrNow,
};
use ringtoss::fs::{self, File};
use ringtoss::op::transferred;

use crate::util::*;

/// What becomes of a call. Those for which nothing was planned succeed.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Well,
    /// So many bytes, and no error.
    Short(usize),
    /// So many bytes are on the disk, and the call fails.
    Torn(usize, i32),
    Fails(i32),
    /// It waits until the test lets it go.
    Hangs,
}

#[derive(Default)]
struct Plan {
    writes: VecDeque<Fate>,
    reads: VecDeque<Fate>,
    syncs: VecDeque<Fate>,
    flushes: VecDeque<Fate>,
    let_go: bool,
}

type Shared = Arc<(Mutex<Plan>, Condvar)>;

/// Whether the kernel may have several calls under way for one that is made.
#[derive(Clone, Copy, PartialEq)]
enum Calls {
    OneByOne,
    AtOnce,
}

/// The file system: one file, which is another one's content.
struct Faulty {
    plan: Shared,
    calls: Calls,
    content: std::fs::File,
}

const FILE: u64 = 2;
const TTL: Duration = Duration::ZERO;

impl Faulty {
    fn attributes(&self, inode: u64) -> FileAttr {
        let time = SystemTime::UNIX_EPOCH;
        let is_file = inode == FILE;
        FileAttr {
            ino: inode,
            size: if is_file { self.content.metadata().unwrap().len() } else { 0 },
            blocks: 0,
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o777,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// The next fate of a kind; hangs if that is it.
    fn fate(&self, of: fn(&mut Plan) -> &mut VecDeque<Fate>) -> Fate {
        let (lock, changed) = &*self.plan;
        let mut plan = lock.lock().unwrap();
        let fate = of(&mut plan).pop_front().unwrap_or(Fate::Well);
        if matches!(fate, Fate::Hangs) {
            say("hangs");
            drop(changed.wait_timeout_while(plan, patience(), |plan| !plan.let_go).unwrap());
        }
        fate
    }

    fn nothing(&self, fate: Fate, reply: ReplyEmpty) {
        match fate {
            Fate::Fails(errno) => reply.error(errno),
            _ => reply.ok(),
        }
    }
}

impl Filesystem for Faulty {
    fn init(&mut self, _: &Request<'_>, config: &mut KernelConfig) -> Result<(), libc::c_int> {
        // As libfuse does. Without it the kernel (6.18) reads and writes such files while it takes the entry, and what it
        // makes of a short read is wrong; with it, a short write is an error. See docs/kernels.md.
        match self.calls {
            Calls::OneByOne => Ok(()),
            Calls::AtOnce => config.add_capabilities(fuser::consts::FUSE_ASYNC_DIO).map_err(|_| libc::ENOSYS),
        }
    }

    fn lookup(&mut self, _: &Request<'_>, _: u64, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some("file") => reply.entry(&TTL, &self.attributes(FILE), 0),
            _ => reply.error(libc::ENOENT),
        }
    }

    fn getattr(&mut self, _: &Request<'_>, inode: u64, _: Option<u64>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn setattr(
        &mut self,
        _: &Request<'_>,
        inode: u64,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<u64>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<u32>,
        reply: ReplyAttr,
    ) {
        if let Some(size) = size {
            self.content.set_len(size).unwrap();
        }
        reply.attr(&TTL, &self.attributes(inode));
    }

    fn open(&mut self, _: &Request<'_>, _: u64, _: i32, reply: ReplyOpen) {
        // FOPEN_DIRECT_IO: each call comes here as it was made.
        reply.opened(0, 1);
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        _: u64,
        _: u64,
        offset: i64,
        size: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyData,
    ) {
        let fate = self.fate(|plan| &mut plan.reads);
        let mut bytes = vec![0; size as usize];
        let count = self.content.read_at(&mut bytes, offset as u64).unwrap();
        match fate {
            Fate::Fails(errno) | Fate::Torn(_, errno) => reply.error(errno),
            Fate::Short(fewer) => reply.data(&bytes[..count.min(fewer)]),
            Fate::Well | Fate::Hangs => reply.data(&bytes[..count]),
        }
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        _: u64,
        _: u64,
        offset: i64,
        data: &[u8],
        _: u32,
        _: i32,
        _: Option<u64>,
        reply: ReplyWrite,
    ) {
        let fate = self.fate(|plan| &mut plan.writes);
        let count = match fate {
            Fate::Short(count) | Fate::Torn(count, _) => count.min(data.len()),
            Fate::Fails(_) => 0,
            Fate::Well | Fate::Hangs => data.len(),
        };
        self.content.write_all_at(&data[..count], offset as u64).unwrap();
        match fate {
            Fate::Fails(errno) | Fate::Torn(_, errno) => reply.error(errno),
            _ => reply.written(count as u32),
        }
    }

    fn flush(&mut self, _: &Request<'_>, _: u64, _: u64, _: u64, reply: ReplyEmpty) {
        let fate = self.fate(|plan| &mut plan.flushes);
        self.nothing(fate, reply);
    }

    fn fsync(&mut self, _: &Request<'_>, _: u64, _: u64, _: bool, reply: ReplyEmpty) {
        let fate = self.fate(|plan| &mut plan.syncs);
        self.nothing(fate, reply);
    }
}

/// Serves the file system until its input ends. In a process of its own, because a process that ends closes its files, and
/// the kernel asks whoever serves them.
pub fn serve(content: &Path, calls: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plan = Shared::default();
    let calls = if calls == "at-once" { Calls::AtOnce } else { Calls::OneByOne };
    let content = std::fs::File::options().read(true).write(true).open(content).unwrap();
    let options = [MountOption::FSName("faulty".to_string())];
    let _session = match fuser::spawn_mount2(Faulty { plan: plan.clone(), calls, content }, dir.path(), &options) {
        Ok(session) => session,
        Err(error) => return say(format_args!("left out {error}")),
    };
    say(dir.path().display());
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse().unwrap();
        let mut state = plan.0.lock().unwrap();
        if words[0] == "go" {
            state.let_go = true;
            plan.1.notify_all();
        } else {
            let fates = match words[0] {
                "writes" => &mut state.writes,
                "reads" => &mut state.reads,
                "syncs" => &mut state.syncs,
                "flushes" => &mut state.flushes,
                other => panic!("{other}"),
            };
            fates.push_back(match words[1] {
                "well" => Fate::Well,
                "short" => Fate::Short(number(2)),
                "torn" => Fate::Torn(number(2), libc::EIO),
                "fails" => Fate::Fails(number(2) as i32),
                "hangs" => Fate::Hangs,
                other => panic!("{other}"),
            });
        }
        say("ok");
    }
}

struct Mount {
    other: RefCell<Other>,
    dir: PathBuf,
    content: tempfile::NamedTempFile,
}

impl Mount {
    fn new(calls: Calls) -> Option<Mount> {
        if !is_root() {
            left_out("only root may mount");
            return None;
        }
        let content = tempfile::NamedTempFile::new().unwrap();
        let calls = if calls == Calls::AtOnce { "at-once" } else { "one-by-one" };
        let other = Other::start(&format!("disk {} {calls}", content.path().display()));
        let line = other.line();
        if let Some(why) = line.strip_prefix("left out ") {
            left_out(format_args!("a FUSE file system cannot be mounted: {why}"));
            return None;
        }
        Some(Mount { other: RefCell::new(other), dir: line.into(), content })
    }

    async fn file(&self) -> File {
        File::options().read(true).write(true).open(self.dir.join("file")).await.unwrap()
    }

    /// Plans one call after the other, each as `kind fate`.
    fn plan(&self, kind: &str, fates: &[&str]) {
        for fate in fates {
            self.tell(&format!("{kind} {fate}"));
        }
    }

    fn tell(&self, what: &str) {
        let mut other = self.other.borrow_mut();
        writeln!(other.stdin.as_mut().unwrap(), "{what}").unwrap();
        assert_eq!(other.line(), "ok");
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.content.path()).unwrap()
    }

    fn set_bytes(&self, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.content.path(), bytes).unwrap();
    }

    /// Waits until a call hangs.
    async fn hangs(&self) {
        while self.other.borrow().line_so_far().is_none_or(|line| line != "hangs") {
            ringtoss::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn let_go(&self) {
        self.tell("go");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // It unmounts when it ends, unless a file is still being closed.
        let mut other = self.other.borrow_mut();
        drop(other.stdin.take());
        let _ = other.child.wait();
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.dir).output();
        let _ = std::fs::remove_dir(&self.dir);
    }
}

const LEN: usize = 300_000;

/// What the kernel asks for in one call.
const ONE_CALL: usize = 100_000;

#[test]
fn writes_that_are_cut_short_go_on() {
    let Some(mount) = Mount::new(Calls::OneByOne) else { return };
    run(async {
        let mut file = mount.file().await;
        mount.plan("writes", &["short 1", "short 4000", "well", "short 17"]);
        file.write_all(pattern(0, LEN)).await.0.unwrap();
        assert_eq!(mount.bytes().len(), LEN);
        check(&mount.bytes(), 0);
        // A single one tells how much.
        mount.plan("writes", &["short 5"]);
        assert_eq!(file.write_at(pattern(0, 100), 0).await.0.unwrap(), 5);
        file.close().await.unwrap();
    });
}

#[test]
fn reads_that_are_cut_short_go_on() {
    let Some(mount) = Mount::new(Calls::AtOnce) else { return };
    mount.set_bytes(pattern(0, LEN));
    run(async {
        let mut file = mount.file().await;
        mount.plan("reads", &["short 100", "short 1", "short 5000"]);
        let (result, bytes) = file.read_exact_at(Vec::with_capacity(ONE_CALL), ONE_CALL, 0).await;
        assert_eq!(result.unwrap(), ONE_CALL);
        check(&bytes, 0);
        mount.plan("reads", &["short 7"]);
        let (result, bytes) = file.read_to_end(Vec::new()).await;
        assert_eq!(result.unwrap(), LEN);
        check(&bytes, 0);
    });
}

#[test]
fn a_write_that_fails_tells_what_was_taken_and_can_be_made_again() {
    let Some(mount) = Mount::new(Calls::OneByOne) else { return };
    run(async {
        let mut file = mount.file().await;
        for errno in [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EROFS, libc::ENXIO] {
            mount.set_bytes([]);
            file.rewind().await.unwrap();
            mount.plan("writes", &["short 40000", &format!("fails {errno}")]);
            let (result, bytes) = file.write_all(pattern(0, LEN)).await;
            let error = result.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno));
            let position = file.stream_position().await.unwrap() as usize;
            assert_eq!(position, mount.bytes().len());
            check(&mount.bytes(), 0);
            // From there on it is as if nothing had been.
            file.write_all(bytes[position..].to_vec()).await.0.unwrap();
            assert_eq!(mount.bytes().len(), LEN);
            check(&mount.bytes(), 0);
        }
    });
}

#[test]
fn a_torn_write_is_an_error_and_made_good_by_writing_again() {
    let Some(mount) = Mount::new(Calls::OneByOne) else { return };
    // What a write that fails has added at the end is cut off by the kernel: so it is within.
    mount.set_bytes(vec![0xdd; LEN]);
    run(async {
        let file = mount.file().await;
        mount.plan("writes", &["torn 777"]);
        let (result, bytes) = file.write_all_at(pattern(0, LEN), 0).await;
        let error = result.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO));
        // Nothing was confirmed, whatever is there.
        assert_eq!(transferred(&error).unwrap_or(0), 0);
        check(&mount.bytes()[..777], 0);
        file.write_all_at(bytes, 0).await.0.unwrap();
        check(&mount.bytes(), 0);
        // Of several at once, one is torn: the others are as they were told to be.
        mount.set_bytes(vec![0xdd; LEN]);
        mount.plan("writes", &["well", "torn 10", "well", "well"]);
        let part = |index: usize| file.write_all_at(pattern(index * 4096, 4096), (index * 4096) as u64);
        let (a, b, c, d) = futures::join!(part(0), part(1), part(2), part(3));
        let results = [a.0, b.0, c.0, d.0];
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        let bytes = mount.bytes();
        for (index, result) in results.iter().enumerate() {
            if result.is_ok() {
                check(&bytes[index * 4096..][..4096], index * 4096);
            }
        }
    });
}

#[test]
fn a_sync_or_a_close_that_fails_is_told() {
    let Some(mount) = Mount::new(Calls::OneByOne) else { return };
    run(async {
        let file = mount.file().await;
        file.write_all_at(pattern(0, 1000), 0).await.0.unwrap();
        mount.plan("syncs", &["fails 5", "fails 28"]);
        assert_eq!(file.sync_all().await.unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(file.sync_data().await.unwrap_err().kind(), ErrorKind::StorageFull);
        file.sync_data().await.unwrap();
        mount.plan("flushes", &["fails 5"]);
        assert_eq!(file.close().await.unwrap_err().raw_os_error(), Some(libc::EIO));
        // The same of what does all in one.
        mount.plan("flushes", &["fails 122"]);
        let error = fs::write(mount.dir.join("file"), pattern(0, 10)).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EDQUOT));
    });
}

#[test]
fn a_read_that_fails_in_the_middle_keeps_what_came_before() {
    let Some(mount) = Mount::new(Calls::AtOnce) else { return };
    mount.set_bytes(pattern(0, LEN));
    run(async {
        let mut file = mount.file().await;
        mount.plan("reads", &["short 50000", "fails 5"]);
        let (result, bytes) = file.read_exact_at(Vec::with_capacity(ONE_CALL), ONE_CALL, 0).await;
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EIO));
        assert_eq!(bytes.len(), 50_000);
        check(&bytes, 0);
        // In order, and again.
        file.rewind().await.unwrap();
        mount.plan("reads", &["fails 5", "short 10"]);
        let (result, bytes) = file.read(Vec::with_capacity(100)).await;
        assert!(result.is_err() && bytes.is_empty());
        let (result, bytes) = file.read(Vec::with_capacity(100)).await;
        assert_eq!(result.unwrap(), 10);
        check(&bytes, 0);
        let path = mount.dir.join("file");
        mount.plan("reads", &["short 1000", "fails 5"]);
        assert_eq!(fs::read(&path).await.unwrap_err().raw_os_error(), Some(libc::EIO));
        check(&fs::read(&path).await.unwrap(), 0);
    });
}

#[test]
fn a_disk_that_hangs_holds_up_nobody_else() {
    let Some(mount) = Mount::new(Calls::AtOnce) else { return };
    run(async {
        let file = mount.file().await;
        file.write_all_at(pattern(0, LEN), 0).await.0.unwrap();
        mount.plan("reads", &["hangs"]);
        let read = ringtoss::spawn(async move {
            let (result, bytes) = file.read_exact_at(Vec::with_capacity(1000), 1000, 0).await;
            result.unwrap();
            (file, bytes)
        });
        mount.hangs().await;
        for _ in 0..1000 {
            turn().await;
        }
        ringtoss::time::sleep(Duration::from_millis(20)).await;
        assert!(!read.is_finished());
        mount.let_go();
        let (_file, bytes) = read.await.unwrap();
        check(&bytes, 0);
    });
}

#[test]
fn what_hangs_can_be_dropped_and_its_fate_is_known_later() {
    let Some(mount) = Mount::new(Calls::AtOnce) else { return };
    run(async {
        let file = mount.file().await;
        mount.plan("writes", &["hangs"]);
        let write = file.write_all_at(pattern(0, 1000), 0);
        let mut write = Box::pin(write);
        let hangs = mount.hangs();
        futures::future::select(write.as_mut(), Box::pin(hangs)).await;
        drop(write);
        for _ in 0..100 {
            turn().await;
        }
        mount.let_go();
        // The next write at that place waits for the first one, so that it is the one that stays.
        file.write_all_at(pattern(5, 1000), 0).await.0.unwrap();
        check(&mount.bytes(), 5);
        quiet().await;
    });
}
