//! Files and NOPs by a loop on the io-uring crate, without futures; also with the file and the buffers registered.

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use crate::buffers::{Block, Buffer, PAGE_BYTES};
use crate::counts::uncounted;
use crate::ring::Queues;
use crate::work::{Blocks, Clock, Offsets, Random, Small, SmallFiles, Window, Work, files_to_stat};

/// The ring as the kernel's documentation advises it for one thread.
pub fn ring(entries: u32) -> IoUring {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(entries * 8);
    let modern = builder.clone().setup_no_sqarray().build(entries);
    modern.or_else(|_| builder.build(entries)).expect("an io_uring")
}

pub fn window(work: Work, duration: Duration, file: &Path) -> Window {
    match work {
        Work::Nop { in_flight } => nops(in_flight, duration),
        Work::Blocks(work) => blocks(work, duration, file, false),
        Work::Small { what, in_flight } => small_files(what, in_flight, duration, file),
        Work::Stat { in_flight } => stats(in_flight, duration, file),
        _ => unreachable!("said that it cannot"),
    }
}

/// With the file and the buffers registered.
pub fn registered_window(work: Work, duration: Duration, file: &Path) -> Window {
    let Work::Blocks(work) = work else { unreachable!("said that it cannot") };
    blocks(work, duration, file, true)
}

/// Keeps so many operations in flight for as long as `more` says so, and gives how many there were. An operation has steps:
/// `step` is told its place, how many steps it has behind it, and the result of the last one, and gives the entry of the
/// next, or nothing when it has come to its end. It owns what entries point to.
fn run(
    ring: &mut Queues,
    in_flight: usize,
    mut more: impl FnMut() -> bool,
    mut step: impl FnMut(usize, usize, i32) -> Option<squeue::Entry>,
) -> u64 {
    let mut begin =
        |ring: &mut Queues, place: usize, step: &mut dyn FnMut(usize, usize, i32) -> Option<squeue::Entry>| {
            let entry = more().then(|| step(place, 0, 0).expect("a first step"));
            // SAFETY: what it points to lives until the last completion has come, below.
            entry.map(|entry| unsafe { ring.push(entry.user_data(place as u64)) }).is_some()
        };
    let mut steps = vec![0; in_flight];
    let mut left = (0..in_flight).filter(|&place| begin(ring, place, &mut step)).count();
    let (mut ops, mut completions) = (0, Vec::<cqueue::Entry>::new());
    while left > 0 {
        ring.turn(&mut completions);
        // So that a device is told of as many as there can be at once.
        ring.drain(&mut completions);
        for completion in completions.drain(..) {
            let place = completion.user_data() as usize;
            assert!(completion.result() >= 0, "an operation failed: {}", completion.result());
            steps[place] += 1;
            if let Some(entry) = step(place, steps[place], completion.result()) {
                // SAFETY: as above; the one before it on the same buffer has ended.
                unsafe { ring.push(entry.user_data(place as u64)) };
                continue;
            }
            ops += 1;
            steps[place] = 0;
            if !begin(ring, place, &mut step) {
                left -= 1;
            }
        }
    }
    ops
}

/// Until the time is over; the clock is looked at now and then.
fn until_over(duration: Duration) -> impl FnMut() -> bool {
    let (until, mut asked, mut over) = (Instant::now() + duration, 0u64, false);
    move || {
        asked += 1;
        over = over || asked.is_multiple_of(16) && Instant::now() >= until;
        !over
    }
}

fn nops(in_flight: usize, duration: Duration) -> Window {
    let mut ring = ring(256);
    let ring = &mut Queues::of(&mut ring);
    let clock = Clock::start();
    let nop = |_, steps, _| (steps == 0).then(|| opcode::Nop::new().build());
    clock.stop(run(ring, in_flight, until_over(duration), nop))
}

fn blocks(work: Blocks, duration: Duration, file: &Path, registered: bool) -> Window {
    let file = work.how().open(&work.path(file)).expect("the file");
    let mut bufs: Vec<Block> = (0..work.in_flight).map(|_| Block::new(work.bytes())).collect();
    let mut ring = ring(256);
    if registered {
        let iovec = |buf: &mut Block| libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.capacity() };
        let iovecs: Vec<_> = bufs.iter_mut().map(iovec).collect();
        ring.submitter().register_files(&[file.as_raw_fd()]).expect("a registered file");
        // SAFETY: the buffers live until the last operation has ended, and nothing is done with them by the ring later.
        unsafe { ring.submitter().register_buffers(&iovecs) }.expect("registered buffers");
    }
    let ring = &mut Queues::of(&mut ring);
    let sequence = Arc::default();
    let mut offsets: Vec<Offsets> = (0..work.in_flight).map(|seed| work.offsets(&sequence, seed)).collect();
    let mut at = vec![0; work.in_flight];
    let fd = types::Fd(file.as_raw_fd());
    let fixed = types::Fixed(0);
    let clock = Clock::start();
    let ops = run(ring, work.in_flight, until_over(duration), |place, steps, result| {
        let buf = &mut bufs[place];
        if steps == 0 {
            at[place] = offsets[place].next();
            if work.write {
                buf.stamp(!at[place]);
            }
            let (pointer, len, index) = (buf.as_mut_ptr(), work.bytes() as u32, place as u16);
            return Some(match (work.write, registered) {
                (false, false) => opcode::Read::new(fd, pointer, len).offset(at[place]).build(),
                (false, true) => opcode::ReadFixed::new(fixed, pointer, len, index).offset(at[place]).build(),
                (true, false) => opcode::Write::new(fd, pointer, len).offset(at[place]).build(),
                (true, true) => opcode::WriteFixed::new(fixed, pointer, len, index).offset(at[place]).build(),
            });
        }
        if steps == 1 {
            assert_eq!(result as usize, work.bytes(), "a whole block");
            assert!(work.write || buf.stamped() == at[place], "another block was read");
            return work.sync.then(|| match registered {
                true => opcode::Fsync::new(fixed).flags(types::FsyncFlags::DATASYNC).build(),
                false => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            });
        }
        None
    });
    clock.stop(ops)
}

fn names(paths: &[PathBuf]) -> Vec<CString> {
    paths.iter().map(|path| CString::new(path.as_os_str().as_bytes()).expect("no NUL")).collect()
}

fn small_files(what: Small, in_flight: usize, duration: Duration, file: &Path) -> Window {
    let (files, until) = (SmallFiles::new(what, file), Instant::now() + duration);
    let names = names(&files.paths);
    let mut bufs: Vec<Block> = (0..in_flight).map(|_| Block::new(PAGE_BYTES)).collect();
    let mut ring = ring(256);
    let ring = &mut Queues::of(&mut ring);
    let cwd = types::Fd(libc::AT_FDCWD);
    let mut window = Window::default();
    while window.ops == 0 || Instant::now() < until {
        uncounted(|| files.prepare());
        let (mut begun, mut taken) = (0, 0);
        let (mut name, mut fds) = (vec![0; in_flight], vec![0; in_flight]);
        let clock = Clock::start();
        let more = || {
            begun += 1;
            begun <= names.len()
        };
        let ops = run(ring, in_flight, more, |place, steps, result| {
            if steps == 0 {
                name[place] = taken;
                taken += 1;
            }
            let (path, fd, buf) = (names[name[place]].as_ptr(), types::Fd(fds[place]), &mut bufs[place]);
            let unlink = || Some(opcode::UnlinkAt::new(cwd, path).build());
            if what == Small::Unlink {
                return if steps == 0 { unlink() } else { None };
            }
            match steps {
                0 if what == Small::Create => {
                    let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_CLOEXEC;
                    Some(opcode::OpenAt::new(cwd, path).flags(flags).mode(0o666).build())
                }
                0 => Some(opcode::OpenAt::new(cwd, path).flags(libc::O_RDONLY | libc::O_CLOEXEC).build()),
                1 => {
                    fds[place] = result;
                    let fd = types::Fd(result);
                    Some(match what {
                        Small::Create => opcode::Write::new(fd, buf.as_ptr(), PAGE_BYTES as u32).build(),
                        _ => opcode::Read::new(fd, buf.as_mut_ptr(), PAGE_BYTES as u32).build(),
                    })
                }
                2 => {
                    assert_eq!(result as usize, PAGE_BYTES, "all of it");
                    Some(opcode::Close::new(fd).build())
                }
                3 if what == Small::Drain => unlink(),
                _ => None,
            }
        });
        window += clock.stop(ops);
        uncounted(|| files.check());
    }
    window
}

fn stats(in_flight: usize, duration: Duration, file: &Path) -> Window {
    let names = names(&files_to_stat(file));
    let mut ring = ring(256);
    let ring = &mut Queues::of(&mut ring);
    // SAFETY: all bits zero is a valid struct.
    let mut answers: Vec<libc::statx> = vec![unsafe { std::mem::zeroed() }; in_flight];
    let (mut random, mut asked) = (Random::new(0), vec![0; in_flight]);
    let clock = Clock::start();
    let ops = run(ring, in_flight, until_over(duration), |place, steps, _| {
        let answer: *mut libc::statx = &mut answers[place];
        if steps == 0 {
            asked[place] = random.below(names.len() as u64);
            let path = names[asked[place] as usize].as_ptr();
            let statx = opcode::Statx::new(types::Fd(libc::AT_FDCWD), path, answer.cast());
            return Some(statx.mask(libc::STATX_BASIC_STATS).build());
        }
        assert_eq!(answers[place].stx_size, asked[place], "the length of another file");
        None
    });
    clock.stop(ops)
}
