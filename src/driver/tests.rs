//! What the driver decides and counts, a step at a time: on a real ring, without a loop around it.

mod chains;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use io_uring::opcode;

use super::harvest::{Chore, deliver};
use super::*;
use crate::ring::{self, SKIP_SUCCESS};
use crate::slot::RETRY;
use crate::sys;

const LOOP: u64 = 7;
/// `IOSQE_FIXED_FILE`.
const FIXED_FILE: u8 = 1 << 0;

/// With a queue of eight; the inbox's eventfd is beside it.
pub(super) fn driver() -> (Driver, OwnedFd) {
    let wakeup = sys::eventfd().unwrap();
    (Driver::new(Config::of(8, 64), wakeup.as_raw_fd()).unwrap(), wakeup)
}

fn nop(sqe: &mut Sqe, _: &mut Arena) -> Result<(), i32> {
    *sqe = Sqe::new(opcode::Nop::CODE);
    Ok(())
}

fn submit_nop(driver: &mut Driver) -> Key {
    driver.submit(Waker::noop().clone(), nop).unwrap()
}

/// A receive that nothing comes for.
fn submit_poll(driver: &mut Driver, fd: &impl AsRawFd) -> Key {
    let number = fd.as_raw_fd();
    let poll = |sqe: &mut Sqe, _: &mut Arena| {
        *sqe = Sqe::new(opcode::PollAdd::CODE).fd(number).op_flags(poll_mask(libc::POLLIN));
        Ok(())
    };
    driver.submit(Waker::noop().clone(), poll).unwrap()
}

fn more() -> Cqe {
    numbered(1)
}

fn numbered(result: i32) -> Cqe {
    // IORING_CQE_F_MORE
    Cqe { result, flags: 1 << 1 }
}

fn hand(driver: &mut Driver, wakes: &mut impl Wakes, key: Key, cqe: Cqe) {
    let Driver { slots, harvest, metrics, .. } = driver;
    deliver(slots, harvest, metrics, wakes, key, cqe);
}

/// Enters and reaps until nothing is in flight.
pub(super) fn settle(driver: &mut Driver) {
    while !driver.all_reaped() {
        driver.enter(Wait::Completion);
        driver.reap();
    }
}

pub(super) fn staged(driver: &mut Driver, position: u32, to: Addressee) -> Sqe {
    *driver.ring.staged_mut(position, to.user_data()).unwrap_or_else(|| panic!("{to:?} is not staged at {position}"))
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_goes_in_and_what_comes_out_is_counted() {
    let (mut driver, _wakeup) = driver();
    assert!(driver.is_idle() && !driver.needs_enter() && !driver.has_events());
    for (round, count) in [3, 2].into_iter().enumerate() {
        let before = driver.metrics;
        let keys: Vec<Key> = (0..count).map(|_| submit_nop(&mut driver)).collect();
        assert_eq!(driver.in_flight(), count);
        assert!(!driver.is_idle() && driver.needs_enter() && driver.has_events());
        let calls = driver.enters();
        driver.enter(Wait::Completion);
        assert_eq!(driver.enters() - calls, 1, "round {round}");
        assert!(!driver.is_idle() && driver.has_events() && !driver.has_harvest());
        assert_eq!(driver.reap(), count);
        assert_eq!(driver.metrics.submissions - before.submissions, count as u64);
        assert_eq!(driver.metrics.completions - before.completions, count as u64);
        // Nobody has taken whom to wake.
        assert!(driver.has_harvest() && !driver.is_idle() && driver.has_events());
        let mut harvest = Harvest::default();
        driver.take_harvest(&mut harvest);
        assert_eq!(harvest.wakers.len(), count);
        assert!(driver.is_idle() && !driver.has_events());
        assert_eq!(driver.reap(), 0);
        for key in keys {
            assert!(!driver.is_in_flight(key));
            assert_eq!(driver.take_done(key), Some(Cqe::of(0)));
            assert_eq!(driver.take_done(key), None);
        }
        assert_eq!((driver.in_flight(), driver.metrics.stale_completions), (0, 0));
    }
}

#[test]
fn after_many_large_ones_entries_go_by_an_enter_of_their_own() {
    let wakeup = sys::eventfd().unwrap();
    let mut driver = Driver::new(Config::of(32, 64), wakeup.as_raw_fd()).unwrap();
    let zeros: &'static [u8] = &[0; 8192];
    let null = std::fs::File::options().write(true).open("/dev/null").unwrap();
    for (large, files, more) in [(false, false, 1), (true, false, 2), (true, true, 1)] {
        let eventfd = sys::eventfd().unwrap();
        submit_poll(&mut driver, &eventfd);
        for _ in 0..if large { 15 } else { 16 } {
            submit_nop(&mut driver);
        }
        if large {
            let write = |sqe: &mut Sqe, _: &mut Arena| {
                let (address, len) = (zeros.as_ptr() as u64, zeros.len() as u32);
                *sqe = Sqe::new(opcode::Write::CODE).fd(null.as_raw_fd()).addr(address).len(len);
                Ok(())
            };
            driver.submit(Waker::noop().clone(), write).unwrap();
        }
        driver.enter(Wait::Completion);
        assert_eq!(driver.reap(), 16);
        // One is due.
        sys::eventfd_signal(&eventfd);
        submit_nop(&mut driver);
        driver.asks_files = files;
        let calls = driver.enters();
        driver.enter(Wait::No);
        assert_eq!((driver.enters() - calls, driver.reap()), (more, 2), "{large} {files}");
        assert!(!driver.ring.is_heavy(), "few");
    }
}

#[test]
fn what_is_to_be_cancelled_is_an_event() {
    let (mut driver, _wakeup) = driver();
    driver.cancel_later(Key { index: 0, generation: 0 });
    assert!(driver.is_idle() && driver.has_events());
    driver.stage_cancels();
    assert!(!driver.has_events(), "there is no such operation");
}

#[test]
fn completions_of_what_is_gone_are_counted() {
    let (mut driver, _wakeup) = driver();
    let gone = Key { index: 5, generation: 9 };
    driver.push_internal(Sqe::new(opcode::Nop::CODE), Addressee::Slot(gone));
    driver.enter(Wait::Completion);
    assert_eq!((driver.reap(), driver.metrics.stale_completions), (1, 1));
    hand(&mut driver, &mut Later, gone, more());
    assert_eq!(driver.metrics.stale_completions, 2);
    hand(&mut driver, &mut Later, gone.link(0), Cqe::of(0));
    assert_eq!(driver.metrics.stale_completions, 3);
    assert!(!driver.has_harvest());
}

#[test]
fn what_nobody_takes_is_stopped_once() {
    let (mut driver, _wakeup) = driver();
    let (reader, _writer) = std::io::pipe().unwrap();
    let key = submit_poll(&mut driver, &reader);
    driver.enter(Wait::No);
    for count in 1..=20 {
        hand(&mut driver, &mut Later, key, numbered(count));
        let stops = driver.harvest.chores.iter().filter(|chore| matches!(chore, Chore::Stop(whom) if *whom == key));
        assert_eq!((stops.count(), driver.harvest.chores.len()), (usize::from(count >= 16), usize::from(count >= 16)));
    }
    assert_eq!(driver.harvest.wakers.len(), 1, "it has not looked since");
    driver.do_chores();
    assert_eq!(driver.ring.staged(), 1);
    settle(&mut driver);
    for count in 1..=20 {
        assert!(matches!(driver.poll(key, Waker::noop()), Polled::Earlier(cqe) if cqe == numbered(count)));
    }
    assert!(matches!(driver.poll(key, Waker::noop()), Polled::Last(cqe) if cqe.result == -libc::ECANCELED));
}

/// Knows one waker.
struct Known {
    waker: Waker,
    wakes: usize,
}

impl Wakes for Known {
    fn wake(&mut self, waker: Waker) -> Result<(), Waker> {
        Err(waker)
    }

    fn wake_by_ref(&mut self, waker: &Waker) -> bool {
        let known = self.waker.will_wake(waker);
        self.wakes += usize::from(known);
        known
    }
}

#[test]
fn who_has_found_nothing_is_woken_once_for_what_comes_until_it_looks_again() {
    let (mut driver, _wakeup) = driver();
    let waker: Waker = Arc::new(Count(AtomicUsize::new(0))).into();
    let mut known = Known { waker: waker.clone(), wakes: 0 };
    let key = driver.submit(waker.clone(), nop).unwrap();
    let come = |driver: &mut Driver, known: &mut Known| hand(driver, known, key, more());
    for round in 1..=3 {
        come(&mut driver, &mut known);
        come(&mut driver, &mut known);
        assert_eq!((known.wakes, driver.has_harvest()), (round, false));
        // It has taken one and is busy: nobody wakes it for a third.
        assert!(matches!(driver.poll(key, &waker), Polled::Earlier(_)));
        come(&mut driver, &mut known);
        assert_eq!(known.wakes, round);
        assert!(matches!(driver.poll(key, &waker), Polled::Earlier(_)));
        assert!(matches!(driver.poll(key, &waker), Polled::Earlier(_)));
        assert!(matches!(driver.poll(key, &waker), Polled::Pending), "its waker is where it was");
    }
    // Another's is taken away, and has to be left again.
    let mut other = Known { waker: Waker::noop().clone(), wakes: 0 };
    come(&mut driver, &mut other);
    come(&mut driver, &mut other);
    assert_eq!((other.wakes, driver.harvest.wakers.len()), (0, 1));
    assert!(driver.harvest.wakers[0].will_wake(&waker));
    for _ in 0..2 {
        assert!(matches!(driver.poll(key, &waker), Polled::Earlier(_)));
    }
    assert!(matches!(driver.poll(key, &waker), Polled::StaleWaker));
    // One comes while it clones its waker, which does not know of that.
    come(&mut driver, &mut other);
    let mut clone = waker.clone();
    assert!(!driver.replace_waker(key, &mut clone) && clone.will_wake(&waker));
    assert!(matches!(driver.poll(key, &waker), Polled::Earlier(_)));
    assert!(matches!(driver.poll(key, &waker), Polled::StaleWaker));
    assert!(driver.replace_waker(key, &mut clone));
    assert!(matches!(driver.poll(key, &waker), Polled::Pending));
    come(&mut driver, &mut known);
    assert_eq!(known.wakes, 4);
    // Somebody else is to be woken for the rest.
    assert!(driver.take_waker(key).is_some_and(|taken| taken.will_wake(&waker)));
    assert!(driver.take_waker(key).is_some_and(|taken| !taken.will_wake(&waker)));
    settle(&mut driver);
}

#[test]
fn whoever_waits_for_what_is_lost_is_woken() {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    lose(State::Waiting(count.clone().into()));
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    lose(State::Done(Cqe::of(0)));
}

#[test]
fn the_inbox_is_polled_for_once_and_again_when_that_has_ended() {
    let (mut driver, wakeup) = driver();
    for _ in 0..2 {
        assert!(driver.may_sleep());
        assert_eq!(driver.ring.staged(), 1);
    }
    let poll = staged(&mut driver, 0, Addressee::Wakeup);
    assert_eq!((poll.opcode, poll.fd, poll.len), (opcode::PollAdd::CODE, wakeup.as_raw_fd(), 1));
    for _ in 0..2 {
        sys::eventfd_signal(&wakeup);
        driver.enter(Wait::Completion);
        assert_eq!(driver.reap(), 1);
        assert!(driver.may_sleep());
        assert_eq!(driver.ring.staged(), 0, "there is more to come");
        sys::eventfd_clear(wakeup.as_raw_fd());
    }
    driver.push_internal(Sqe::cancelling(Addressee::Wakeup.user_data()).flags(SKIP_SUCCESS), Addressee::Nobody);
    driver.enter(Wait::Completion);
    assert_eq!(driver.reap(), 1);
    assert!(driver.may_sleep());
    assert_eq!(driver.ring.staged(), 1);
    // What was polled for has ended, and the inbox is armed.
    driver.sleepless = POLLS;
    assert!(driver.may_sleep());
    assert_eq!((driver.ring.staged(), driver.sleepless), (1, 0));
    driver.sleepless = POLLS | UNARMED;
    assert!(driver.may_sleep());
    assert_eq!((driver.ring.staged(), driver.sleepless), (2, 0));
    // Nobody waits for a buffer any more, and there are none.
    driver.sleepless = HUNGRY | UNARMED;
    assert!(driver.may_sleep());
    assert_eq!((driver.ring.staged(), driver.sleepless), (3, 0));
}

#[test]
fn a_guest_has_one_timeout_and_moves_it_forward_only() {
    let (mut driver, _wakeup) = driver();
    driver.become_guest().unwrap();
    assert!(driver.may_sleep());
    assert_eq!(driver.ring.staged(), 0, "nobody polls for the inbox");
    driver.doubt_deadline();
    let hour = 3_600_000_000_000;
    driver.arm_deadline(5000, hour);
    assert_eq!(staged(&mut driver, 0, Addressee::Deadline).opcode, opcode::Timeout::CODE);
    for later in [5000, 6000] {
        driver.arm_deadline(later, hour);
        assert_eq!(driver.ring.staged(), 1);
    }
    driver.arm_deadline(4000, hour);
    let update = staged(&mut driver, 1, Addressee::Nobody);
    assert_eq!(update.opcode, opcode::TimeoutUpdate::CODE);
    assert_eq!((update.op_flags, update.flags), (1 << 1, SKIP_SUCCESS));
    // The clock was set: any deadline is made anew.
    driver.doubt_deadline();
    driver.arm_deadline(9000, 1000);
    assert_eq!(staged(&mut driver, 2, Addressee::Nobody).opcode, opcode::TimeoutUpdate::CODE);
    driver.enter(Wait::Completion);
    assert_eq!(driver.reap(), 1);
    driver.arm_deadline(10_000, hour);
    assert_eq!(staged(&mut driver, 3, Addressee::Deadline).opcode, opcode::Timeout::CODE);
    // A queue that is full is handed over first.
    while !driver.ring.is_full() {
        submit_nop(&mut driver);
    }
    driver.arm_deadline(3000, hour);
    assert_eq!(driver.ring.staged(), 1);
}

#[test]
fn the_kernel_calls_a_guest_unless_it_is_told_not_to() {
    let (mut driver, wakeup) = driver();
    assert_eq!(driver.room_for_completions(), 64);
    driver.become_guest().unwrap();
    for quiet in [true, false, true, false] {
        driver.set_quiet(quiet);
        let key = submit_nop(&mut driver);
        driver.enter(Wait::Completion);
        assert_eq!(sys::is_ready(wakeup.as_raw_fd(), libc::POLLIN), !quiet);
        sys::eventfd_clear(wakeup.as_raw_fd());
        driver.reap();
        assert!(driver.take_done(key).is_some());
    }
}

#[test]
fn refusals_are_counted_until_all_is_taken() {
    let (mut driver, _wakeup) = driver();
    for refusals in 1..=3 {
        driver.entered(Ok(Entered::Pressed));
        assert_eq!(driver.refusals, refusals);
    }
    driver.entered(Ok(Entered::Left));
    assert_eq!(driver.refusals, 3);
    driver.entered(Ok(Entered::All));
    assert_eq!(driver.refusals, 0);
    driver.entered(Ok(Entered::Pressed));
    driver.enter(Wait::No);
    assert_eq!(driver.refusals, 0);
}

#[test]
#[should_panic(expected = "io_uring_enter failed in a way that it never should")]
fn a_loop_that_is_broken_says_so() {
    let (mut driver, _wakeup) = driver();
    driver.entered(Err(io::Error::from_raw_os_error(libc::EBADF)));
}

#[test]
fn what_stands_in_a_full_queue_goes_first() {
    let (mut driver, _wakeup) = driver();
    let keys: Vec<Key> = (0..20).map(|_| submit_nop(&mut driver)).collect();
    assert_eq!(driver.ring.staged(), 4);
    assert_eq!(driver.metrics.submissions, 16);
    driver.make_room(4);
    assert_eq!(driver.ring.staged(), 4, "there is as much");
    driver.make_room(5);
    assert_eq!(driver.ring.staged(), 0);
    driver.submit_all();
    settle(&mut driver);
    assert!(keys.into_iter().all(|key| driver.take_done(key).is_some()));
}

#[test]
fn an_entry_is_made_anew_as_long_as_it_is_the_loops() {
    let (mut driver, _wakeup) = driver();
    let key = submit_nop(&mut driver);
    let with_len = |len: u32| move |sqe: &mut Sqe, _: &mut Arena| *sqe = Sqe::new(opcode::Nop::CODE).len(len);
    assert!(driver.restage(key, with_len(5)));
    assert_eq!(staged(&mut driver, 0, Addressee::Slot(key)).len, 5);
    driver.enter(Wait::Completion);
    assert!(!driver.restage(key, with_len(6)));
    driver.reap();
    assert!(!driver.restage(key, with_len(7)));
    assert!(driver.take_done(key).is_some() && !driver.restage(key, with_len(8)));
    let dropped = submit_nop(&mut driver);
    assert!(matches!(driver.drop_future(dropped, false), Dropped::Voided(Some(_))), "its waker is dropped outside");
}

#[test]
fn events_are_where_the_kernel_looks_for_them() {
    let [input, output] = [libc::POLLIN, libc::POLLOUT].map(poll_mask);
    assert_eq!((input.count_ones(), output.count_ones(), output), (1, 1, input << 2));
    assert_eq!(input == 1, cfg!(target_endian = "little"));
}

// ---- descriptors ----------------------------------------------------------------------------------------------

fn closing(fd: OwnedFd) -> Closing {
    Closing {
        fd: std::os::fd::IntoRawFd::into_raw_fd(fd),
        place: None,
        lingers: false,
        cancels: Vec::new(),
        visits: Vec::new(),
    }
}

#[test]
fn a_descriptor_goes_behind_what_was_cancelled_on_this_loop() {
    let (mut driver, _wakeup) = driver();
    let (reader, writer) = std::io::pipe().unwrap();
    let own = submit_poll(&mut driver, &reader);
    let (other_reader, _other_writer) = std::io::pipe().unwrap();
    let others = submit_poll(&mut driver, &other_reader);
    driver.enter(Wait::No);
    assert!(driver.is_in_flight(own) && driver.is_in_flight(others));
    let mut closing = closing(reader.into());
    closing.cancels = vec![(LOOP, own), (LOOP + 1, others)];
    driver.close(&closing, LOOP, true);
    assert!(driver.closes_pending());
    assert_eq!(driver.ring.staged(), 2, "a cancel and the close");
    while driver.closes_pending() {
        driver.enter(Wait::Completion);
        driver.reap();
    }
    assert!(!driver.is_in_flight(own) && driver.is_in_flight(others));
    assert!(sys::is_ready(writer.as_raw_fd(), 0), "nobody can read");
    driver.cancel(others);
    settle(&mut driver);
}

#[test]
fn closes_are_counted_where_somebody_waits_and_listed_where_they_take_their_time() {
    let (mut driver, _wakeup) = driver();
    let ends = || std::io::pipe().unwrap();
    let (reader, writer) = ends();
    driver.close(&closing(reader.into()), LOOP, false);
    let close = staged(&mut driver, 0, Addressee::Nobody);
    assert_eq!((close.opcode, close.flags), (opcode::Close::CODE, SKIP_SUCCESS));
    assert!(!driver.closes_pending() && !driver.closes_slowly());

    let mut slow = closing(writer.into());
    slow.lingers = true;
    driver.close(&slow, LOOP, false);
    assert_eq!(staged(&mut driver, 1, Addressee::Closing(slow.fd)).flags, ring::ASYNC);
    assert!(!driver.closes_pending() && driver.closes_slowly());

    let (reader, writer) = ends();
    let mut slow = closing(reader.into());
    slow.lingers = true;
    driver.close(&slow, LOOP, true);
    assert_eq!(staged(&mut driver, 2, Addressee::Counted).flags, ring::ASYNC);
    driver.close(&closing(writer.into()), LOOP, true);
    assert_eq!(staged(&mut driver, 3, Addressee::Counted).flags, 0);
    assert_eq!(driver.counted_closes, 2);
    while driver.closes_pending() || driver.closes_slowly() {
        driver.enter(Wait::Completion);
        driver.reap();
    }
    assert!(driver.take_late_closes().is_empty());

    // On a loop that ends they wait until everything is reaped.
    driver.begin_ending();
    assert!(driver.is_ending());
    let late = closing(ends().0.into());
    driver.close(&late, LOOP, false);
    assert_eq!(driver.ring.staged(), 0);
    assert_eq!(driver.take_late_closes(), [late.fd]);
    late.close_now();
}

#[test]
fn a_slow_close_that_has_not_begun_is_closed_later() {
    let pipes: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap().0).collect();
    let [one, two, three] = [0, 1, 2].map(|index: usize| pipes[index].as_raw_fd());
    let (mut slow, mut late) = (vec![one, two], Vec::new());
    closed(&mut slow, &mut late, three, Cqe::of(-libc::ECANCELED));
    assert_eq!((&*slow, &*late), (&[one, two][..], &[][..]), "that is nobody's");
    closed(&mut slow, &mut late, two, Cqe::of(-libc::ECANCELED));
    assert_eq!((&*slow, &*late), (&[one][..], &[two][..]));
    closed(&mut slow, &mut late, one, Cqe::of(0));
    assert_eq!((&*slow, &*late), (&[][..], &[two][..]));
}

#[test]
fn hurry_asks_for_each_slow_close() {
    let (mut driver, _wakeup) = driver();
    driver.hurry_closes();
    assert_eq!(driver.ring.staged(), 0);
    driver.slow_closes = vec![1000, 1001];
    driver.hurry_closes();
    for (position, fd) in [(0, 1000), (1, 1001)] {
        let cancel = staged(&mut driver, position, Addressee::Nobody);
        assert_eq!((cancel.opcode, cancel.flags), (opcode::AsyncCancel::CODE, SKIP_SUCCESS));
        assert_eq!(cancel.addr, Addressee::Closing(fd).user_data());
    }
    driver.slow_closes.clear();
}

// ---- what few do -----------------------------------------------------------------------------------------------

pub(super) struct Promised(pub bool);

impl Orphan for Promised {
    fn finish(self: Box<Self>, _: Earlier, _: Cqe) {}
    fn lose(self: Box<Self>) {}
    fn is_promised(&self) -> bool {
        self.0
    }
    fn wants_cancel(&self) -> bool {
        !self.0
    }
}

#[test]
fn what_was_promised_is_cancelled_last() {
    let (mut driver, _wakeup) = driver();
    let (reader, _writer) = std::io::pipe().unwrap();
    let keys = [false, true].map(|promised| {
        let key = submit_poll(&mut driver, &reader);
        driver.enter(Wait::No);
        driver.adopt(key, Box::new(Promised(promised)));
        key
    });
    driver.begin_ending();
    driver.cancel_all();
    while driver.is_in_flight(keys[0]) {
        driver.enter(Wait::Completion);
        driver.reap();
    }
    assert!(driver.is_in_flight(keys[1]) && driver.cancel_promised());
    settle(&mut driver);
    assert!(!driver.cancel_promised());
    assert_eq!(driver.harvest.orphans.len(), 2);
}

#[test]
fn a_thread_of_the_kernels_is_waited_for() {
    let (mut plain, _wakeup) = driver();
    assert!(!plain.has_thread());
    plain.let_thread_settle();
    assert_eq!((plain.ring.staged(), plain.metrics.completions), (0, 0));
    let polled = crate::ring::Polled { idle_ms: 10, cpu: None };
    let config = Config { polled: Some(polled), ..Config::of(8, 64) };
    let mut driver = Driver::new(config, plain.wakeup_fd).unwrap();
    assert!(driver.has_thread());
    for round in 1..=2 {
        driver.let_thread_settle();
        assert_eq!((driver.metrics.completions, driver.closes_pending()), (round, false));
    }
}

#[test]
fn a_datagram_that_is_moved_at_once_is_counted() {
    let (mut driver, _wakeup) = driver();
    let (sender, receiver) = std::os::unix::net::UnixDatagram::pair().unwrap();
    for round in 1..=2 {
        let bytes = [7u8; 5];
        let send = |sqe: &mut Sqe, arena: &mut Arena| {
            *sqe = Sqe::new(opcode::Send::CODE).fd(sender.as_raw_fd()).addr(bytes.as_ptr().addr() as u64).len(5);
            arena.by_call = sqe.place();
            Ok(())
        };
        let key = driver.submit(Waker::noop().clone(), send).unwrap();
        assert!(driver.may_go_by_call() && driver.attempt(Later) && !driver.may_go_by_call());
        assert_eq!(driver.take_done(key), Some(Cqe::of(5)));
        assert_eq!((driver.metrics.submissions, driver.metrics.completions, driver.ring.staged()), (round, round, 0));
        assert_eq!(receiver.recv(&mut [0; 9]).unwrap(), 5);
    }
    submit_nop(&mut driver);
    assert!(!driver.may_go_by_call() && !driver.attempt(Later));
    settle(&mut driver);
}

/// Only of the entry that was prepared last is it known that a call may do its work: another may stand where it stood.
#[test]
fn what_may_go_by_call_is_the_last_entry_only() {
    let (mut driver, _wakeup) = driver();
    let by_call = |sqe: &mut Sqe, arena: &mut Arena| {
        *sqe = Sqe::new(opcode::Nop::CODE);
        arena.by_call = sqe.place();
        Ok(())
    };
    driver.submit(Waker::noop().clone(), by_call).unwrap();
    assert!(driver.may_go_by_call());
    submit_nop(&mut driver);
    assert!(!driver.may_go_by_call());
    driver.submit(Waker::noop().clone(), by_call).unwrap();
    assert!(driver.submit(Waker::noop().clone(), |_, _| Err(libc::EINVAL)).is_err());
    assert!(!driver.may_go_by_call());
    while driver.ring.room() > 0 {
        driver.submit(Waker::noop().clone(), by_call).unwrap();
    }
    submit_nop(&mut driver);
    assert!(!driver.may_go_by_call(), "the queue was full");
    settle(&mut driver);
}

// ---- cancels --------------------------------------------------------------------------------------------------

#[test]
fn a_cancel_that_found_nothing_is_made_again_at_once_and_then_later() {
    let (mut driver, _wakeup) = driver();
    let (reader, _writer) = std::io::pipe().unwrap();
    let key = submit_poll(&mut driver, &reader);
    driver.enter(Wait::No);
    driver.harvest.chores.push(Chore::StopAgain(key, 1));
    driver.do_chores();
    let again = staged(&mut driver, 1, Addressee::answer(key, crate::slot::CANCEL_AGAIN));
    assert_eq!((again.opcode, again.flags), (opcode::AsyncCancel::CODE, SKIP_SUCCESS));
    driver.harvest.chores.push(Chore::StopAgain(key, 2));
    driver.do_chores();
    assert_eq!(staged(&mut driver, 2, Addressee::answer(key, RETRY)).opcode, opcode::Timeout::CODE);
    driver.harvest.chores.push(Chore::StopLater(key));
    driver.do_chores();
    assert_eq!(staged(&mut driver, 3, Addressee::answer(key, RETRY)).opcode, opcode::Timeout::CODE);
    settle(&mut driver);
    // Nothing is in flight: nobody is asked at once.
    let before = driver.ring.staged();
    driver.harvest.chores.push(Chore::StopAgain(key, 1));
    driver.do_chores();
    assert_eq!(driver.ring.staged(), before);
}
