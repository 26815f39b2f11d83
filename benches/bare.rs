//! What a future costs at least: `cargo bench --bench bare`, a minute. The same work by a loop without futures; by the least that can be
//! called an executor (tasks in a vector, each with one operation, polled by the loop that reaps: no wakers, no queue, no slots,
//! nothing that could be dropped early or sent to another thread); and by ringtoss. What came of it is in docs/performance.md.
//!
//! Printed is the thread's CPU for one operation, kernel included: the median and the best of the windows, in which the three take turns.
#![allow(unsafe_code, reason = "a raw ring")]

mod by_hand;

use std::cell::{Cell, UnsafeCell};
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use by_hand::cpu_ns;
use io_uring::squeue::{self, SubmissionQueue};
use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, Submitter, opcode};
use ringtoss::buf::{IoBufMut, RegisteredPool};

const WINDOWS: usize = 21;
const OPS: usize = 100_000;
const BLOCK: usize = 4096;
const BLOCKS: u64 = 64 << 8;

#[derive(Clone, Copy, PartialEq)]
enum Work {
    Nop,
    Read,
    /// The same, with the file and its buffers registered.
    Registered,
}

/// Operations, and how many at once.
#[derive(Clone, Copy)]
struct Load<'a> {
    work: Work,
    file: &'a File,
    in_flight: usize,
    ops: usize,
}

impl Load<'_> {
    /// That of a task.
    fn entry(&self, task: usize, buffer: *mut u8, at: u64) -> squeue::Entry {
        let len = BLOCK as u32;
        match self.work {
            Work::Nop => opcode::Nop::new().build(),
            Work::Read => opcode::Read::new(Fd(self.file.as_raw_fd()), buffer, len).offset(at).build(),
            Work::Registered => opcode::ReadFixed::new(Fixed(0), buffer, len, task as u16).offset(at).build(),
        }
        .user_data(task as u64)
    }

    /// Buffers for the tasks, registered with the ring if they are to be; [`Load::end`] has it let go of them.
    fn buffers(&self, submitter: &Submitter<'_>) -> Vec<Vec<u8>> {
        let mut buffers = vec![vec![0; BLOCK]; self.in_flight];
        if self.work == Work::Registered {
            let iovec = |buffer: &mut Vec<u8>| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: BLOCK };
            let iovecs: Vec<_> = buffers.iter_mut().map(iovec).collect();
            // SAFETY: whoever has them keeps them until all operations are done, and has the ring let go of them then.
            unsafe { submitter.register_buffers(&iovecs) }.expect("registered buffers");
            submitter.register_files(&[self.file.as_raw_fd()]).expect("a registered file");
        }
        buffers
    }

    fn end(&self, submitter: &Submitter<'_>) {
        if self.work == Work::Registered {
            submitter.unregister_buffers().expect("they are");
            submitter.unregister_files().expect("it is");
        }
    }
}

/// Where the next block is: goes through all of them, each far from the one before.
fn next(place: &mut u64) -> u64 {
    *place = (*place * 5 + 12_345) % BLOCKS;
    *place * BLOCK as u64
}

/// A loop without futures.
fn by_hand(ring: &mut IoUring, load: Load<'_>) {
    let (mut submitter, mut sq, mut cq) = ring.split();
    let _ = submitter.register_ring_fd();
    let mut tasks: Vec<(Vec<u8>, u64)> = load.buffers(&submitter).into_iter().zip(0..).collect();
    let mut ready: Vec<usize> = (0..load.in_flight).collect();
    let (mut left, mut done) = (load.ops, 0);
    while done < load.ops {
        for task in ready.drain(..).take(left) {
            left -= 1;
            let (buffer, place) = &mut tasks[task];
            let entry = load.entry(task, buffer.as_mut_ptr(), next(place));
            // SAFETY: each task has a buffer and one operation at a time; buffers live until all operations are done.
            unsafe { sq.push(&entry).expect("room for each task") };
        }
        sq.sync();
        submitter.submit_and_wait(1).expect("an enter");
        cq.sync();
        for cqe in &mut cq {
            assert!(cqe.result() >= 0);
            let task = cqe.user_data() as usize;
            std::hint::black_box(tasks[task].0[0]);
            ready.push(task);
            done += 1;
        }
    }
    load.end(&submitter);
}

/// What the futures of the least executor share with it.
struct Shared<'ring> {
    sq: UnsafeCell<SubmissionQueue<'ring>>,
    /// Which task is polled, and what its operation has come to.
    task: Cell<usize>,
    result: Cell<i32>,
    left: Cell<usize>,
}

/// It is polled to submit, and then when it has completed.
struct Op<'a, 'ring> {
    shared: &'a Shared<'ring>,
    entry: Option<squeue::Entry>,
}

impl Future for Op<'_, '_> {
    type Output = i32;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<i32> {
        let shared = self.shared;
        let Some(entry) = self.entry.take() else { return Poll::Ready(shared.result.get()) };
        // SAFETY: one thread, and nobody else has the queue while a task is polled. What the entry points to is the task's, whose
        // executor drops none before all operations are done.
        unsafe { (*shared.sq.get()).push(&entry).expect("room for each task") };
        Poll::Pending
    }
}

/// Takes the buffer and gives it back, as operations do that may be dropped.
async fn operation(shared: &Shared<'_>, load: Load<'_>, mut buffer: Vec<u8>, at: u64) -> (i32, Vec<u8>) {
    let entry = Some(load.entry(shared.task.get(), buffer.as_mut_ptr(), at));
    (Op { shared, entry }.await, buffer)
}

fn by_least_futures(ring: &mut IoUring, load: Load<'_>) {
    let (mut submitter, sq, mut cq) = ring.split();
    let _ = submitter.register_ring_fd();
    let buffers = load.buffers(&submitter);
    let left = Cell::new(load.ops);
    let shared = &Shared { sq: UnsafeCell::new(sq), task: Cell::new(0), result: Cell::new(0), left };
    let mut tasks: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    for (mut buffer, mut place) in buffers.into_iter().zip(0..) {
        tasks.push(Box::pin(async move {
            while shared.left.get() > 0 {
                shared.left.set(shared.left.get() - 1);
                let (result, back) = operation(shared, load, buffer, next(&mut place)).await;
                assert!(result >= 0);
                std::hint::black_box(back[0]);
                buffer = back;
            }
        }));
    }
    let mut context = Context::from_waker(Waker::noop());
    let mut poll = |task: usize| {
        shared.task.set(task);
        let _ = tasks[task].as_mut().poll(&mut context);
    };
    (0..load.in_flight).for_each(&mut poll);
    let mut done = 0;
    while done < load.ops {
        // SAFETY: no task is polled here.
        unsafe { (*shared.sq.get()).sync() };
        submitter.submit_and_wait(1).expect("an enter");
        cq.sync();
        for cqe in &mut cq {
            shared.result.set(cqe.result());
            poll(cqe.user_data() as usize);
            done += 1;
        }
    }
    // Registered memory stays valid when it is freed: the kernel has its pages.
    drop(tasks);
    load.end(&submitter);
}

fn by_ringtoss(event_loop: &ringtoss::EventLoop, load: Load<'_>) {
    let file: Rc<ringtoss::fs::File> = Rc::new(load.file.try_clone().expect("another descriptor").into());
    let left = Rc::new(Cell::new(load.ops));
    event_loop.block_on(async {
        let mut tasks = Vec::new();
        let pool = (load.work == Work::Registered).then(|| {
            file.register();
            RegisteredPool::new(BLOCK, load.in_flight).expect("registered buffers")
        });
        for place in 0..load.in_flight as u64 {
            let (file, left) = (file.clone(), left.clone());
            tasks.push(match &pool {
                Some(pool) => ringtoss::spawn(reads(file, left, pool.take().await.expect("one for each"), place)),
                None if load.work == Work::Read => ringtoss::spawn(reads(file, left, vec![0; BLOCK], place)),
                None => ringtoss::spawn(async move {
                    while left.get() > 0 {
                        left.set(left.get() - 1);
                        ringtoss::op::nop().await.expect("a NOP");
                    }
                }),
            });
        }
        for task in tasks {
            task.await.expect("a task");
        }
    });
}

async fn reads<B: IoBufMut>(file: Rc<ringtoss::fs::File>, left: Rc<Cell<usize>>, mut buffer: B, mut place: u64) {
    while left.get() > 0 {
        left.set(left.get() - 1);
        let result;
        (result, buffer) = file.read_at(buffer, next(&mut place)).await;
        result.expect("a read");
        std::hint::black_box(buffer.buf_slice()[0]);
    }
}

fn main() {
    // `cargo test --benches` only sees that it runs.
    let (windows, ops) = if std::env::args().any(|arg| arg == "--bench") { (WINDOWS, OPS) } else { (1, 300) };
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&vec![7; BLOCK * BLOCKS as usize]).expect("room for 64 MiB");
    let event_loop = ringtoss::EventLoop::new().expect("a loop");
    let (mut first, mut second) = (by_hand::ring(), by_hand::ring());
    for (work, name) in [(Work::Nop, "NOP"), (Work::Read, "4 KiB hot read"), (Work::Registered, "the same, registered")]
    {
        for in_flight in [1, 32, 128] {
            let load = Load { work, file: &file, in_flight, ops };
            let mut figures: [Vec<f64>; 3] = Default::default();
            for _ in 0..windows {
                for (way, figures) in figures.iter_mut().enumerate() {
                    let start = cpu_ns();
                    match way {
                        0 => by_hand(&mut first, load),
                        1 => by_least_futures(&mut second, load),
                        _ => by_ringtoss(&event_loop, load),
                    }
                    figures.push((cpu_ns() - start) / ops as f64);
                }
            }
            let figures = figures.map(|mut figures| {
                figures.sort_by(f64::total_cmp);
                (figures[figures.len() / 2], figures[0])
            });
            println!("{name}, {in_flight} in flight");
            for (way, (median, best)) in ["by hand", "the least futures", "ringtoss"].iter().zip(figures) {
                let (of_median, of_best) = (median / figures[0].0, best / figures[0].1);
                println!("  {way:18} median {median:6.1} ns ({of_median:.2}), best {best:6.1} ns ({of_best:.2})");
            }
        }
    }
}
