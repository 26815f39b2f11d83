//! Chains: how their links are tied, and what becomes of their entries.

use super::*;
use crate::driver::chains::{Entry, Unstaged};
use crate::ring::{HARDLINK, LINK};
use crate::slot::Link;

/// Links as they are given, all of them NOPs.
fn submit_chain(driver: &mut Driver, links: &[(Link, Option<u64>)]) -> Result<Key, (Unstaged, Waker)> {
    let entries = links.len() + links.iter().filter(|(_, limit)| limit.is_some()).count();
    let prepare = |number: usize, _: Option<u32>, sqe: &mut Sqe, _: &mut Arena| {
        // The second names a place in a table, and no descriptor.
        *sqe = Sqe::new(opcode::Nop::CODE).flags(if number == 1 { FIXED_FILE } else { 0 });
        let (link, limit_ns) = links[number];
        Ok(Entry { link, limit_ns })
    };
    driver.submit_chain(Waker::noop().clone(), links.len(), entries, false, prepare)
}

#[test]
fn links_are_tied_as_they_say() {
    let (mut driver, _wakeup) = driver();
    let hard = Link { hard: true, ..Link::LOUD };
    let silent = Link { silent: true, exact: Some(0), ..Link::LOUD };
    let hour = Some(3_600_000_000_000);
    let key = submit_chain(&mut driver, &[(hard, None), (silent, hour), (Link::LOUD, None), (Link::LOUD, hour)])
        .unwrap_or_else(|_| panic!("it fits"));
    let link = |number| Addressee::Slot(key.link(number));
    let flags = [
        (link(0), opcode::Nop::CODE, HARDLINK),
        (link(1), opcode::Nop::CODE, LINK | SKIP_SUCCESS | FIXED_FILE),
        (Addressee::Nobody, opcode::LinkTimeout::CODE, LINK | SKIP_SUCCESS),
        (link(2), opcode::Nop::CODE, LINK),
        (link(3), opcode::Nop::CODE, LINK),
        (Addressee::Nobody, opcode::LinkTimeout::CODE, SKIP_SUCCESS),
    ];
    for (position, (to, code, flags)) in flags.into_iter().enumerate() {
        let entry = staged(&mut driver, position as u32, to);
        assert_eq!((entry.opcode, entry.flags), (code, flags), "entry {position}");
    }
    assert_eq!(driver.ring.staged(), 6);
    assert!(!driver.end_chains_naming(1), "they name no descriptors, and this one least of all");
    settle(&mut driver);
    let links: Vec<_> = (0..4).map(|_| driver.poll(key, Waker::noop())).collect();
    assert!(matches!(links[3], Polled::Last(cqe) if cqe.result == 0));
    assert_eq!(driver.in_flight(), 0);
}

/// The first link has looked its descriptor up when the chain is with the kernel.
#[test]
fn a_chain_names_what_its_later_links_look_up() {
    let (mut driver, _wakeup) = driver();
    let files = [(); 3].map(|()| tempfile::tempfile().unwrap());
    let prepare = |number: usize, _: Option<u32>, sqe: &mut Sqe, _: &mut Arena| {
        *sqe = Sqe::new(opcode::Fsync::CODE).fd(files[number].as_raw_fd());
        Ok(Entry { link: Link::LOUD, limit_ns: None })
    };
    let chain = driver.submit_chain(Waker::noop().clone(), 3, 3, false, prepare);
    assert!(chain.is_ok());
    driver.enter(Wait::No);
    let named = files.each_ref().map(|file| driver.slots.chains_naming(file.as_raw_fd()).count());
    assert_eq!(named, [0, 1, 1]);
    settle(&mut driver);
    assert!(!files.iter().any(|file| driver.end_chains_naming(file.as_raw_fd())));
}

#[test]
fn a_descriptor_that_goes_waits_for_the_chains_that_name_it() {
    let (mut driver, _wakeup) = driver();
    let ((reader, _writer), file) = (std::io::pipe().unwrap(), tempfile::tempfile().unwrap());
    let prepare = |number: usize, _: Option<u32>, sqe: &mut Sqe, _: &mut Arena| {
        *sqe = match number {
            0 => Sqe::new(opcode::PollAdd::CODE).fd(reader.as_raw_fd()).op_flags(poll_mask(libc::POLLIN)),
            _ => Sqe::new(opcode::Fsync::CODE).fd(file.as_raw_fd()),
        };
        Ok(Entry { link: Link::LOUD, limit_ns: None })
    };
    let chain = driver.submit_chain(Waker::noop().clone(), 2, 2, false, prepare);
    let key = chain.unwrap_or_else(|_| panic!("it fits"));
    driver.enter(Wait::No);
    driver.await_chains_naming(reader.as_raw_fd());
    assert!(driver.is_in_flight(key), "that one has been looked up");
    driver.await_chains_naming(file.as_raw_fd());
    assert!(!driver.is_in_flight(key));
}

#[test]
fn a_chain_is_as_long_as_the_queue_at_most() {
    let (mut driver, _wakeup) = driver();
    let hour = Some(3_600_000_000_000);
    let limited = (Link::LOUD, hour);
    assert!(matches!(submit_chain(&mut driver, &[limited; 5]), Err((Unstaged::TooLong, _))));
    assert_eq!(driver.ring.staged(), 0);
    submit_nop(&mut driver);
    // All of it or nothing: what is staged goes first.
    let key = submit_chain(&mut driver, &[limited; 4]).unwrap_or_else(|_| panic!("it fits"));
    assert_eq!((driver.ring.staged(), driver.metrics.submissions), (8, 1));
    // Its entries are the loop's still: they vanish.
    assert!(matches!(driver.drop_future(key, false), Dropped::Voided(Some(_))));
    for position in 1..9 {
        let void = staged(&mut driver, position, Addressee::Nobody);
        assert_eq!(void.opcode, opcode::Nop::CODE);
        assert!(void.flags & SKIP_SUCCESS != 0);
    }
    let completions = driver.metrics.completions;
    driver.submit_all();
    driver.enter(Wait::No);
    driver.reap();
    assert_eq!(driver.metrics.completions, completions);
}

#[test]
fn a_link_that_is_refused_takes_back_what_was_staged_before_it() {
    let (mut driver, _wakeup) = driver();
    submit_nop(&mut driver);
    let prepare = |number: usize, _: Option<u32>, sqe: &mut Sqe, _: &mut Arena| {
        *sqe = Sqe::new(opcode::Nop::CODE);
        if number < 2 { Ok(Entry { link: Link::LOUD, limit_ns: None }) } else { Err(libc::EINVAL) }
    };
    let refused = driver.submit_chain(Waker::noop().clone(), 3, 3, false, prepare);
    assert!(matches!(refused, Err((Unstaged::Refused(2, libc::EINVAL), _))));
    assert_eq!(driver.ring.staged(), 1);
    settle(&mut driver);
    assert_eq!(driver.metrics.completions, 1);
}

/// It has waited on a loop that has ended meanwhile.
#[test]
fn a_descriptor_that_has_waited_for_chains_goes_on_to_the_other_loops() {
    crate::block_on(async {
        let here = crate::context::with(|core| core.id).unwrap();
        let (mut driver, _wakeup) = driver();
        let (reader, writer) = std::io::pipe().unwrap();
        let mut closing = closing(reader.into());
        let ended = u64::MAX;
        closing.visits = vec![ended, here];
        driver.held.push((ended, closing));
        driver.pass_held_on();
        assert!(driver.take_late_closes().is_empty(), "another loop may name it");
        while !sys::is_ready(writer.as_raw_fd(), 0) {
            crate::op::nop().await.unwrap();
        }
    });
}
