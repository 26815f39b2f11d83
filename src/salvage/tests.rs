//! The cell by itself.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::*;

fn key(index: u32) -> Key {
    Key { index, generation: 1 }
}

fn ask(cell: &Salvage, lane: Lane) -> Gate {
    let mut ticket = None;
    let gate = cell.ask(lane, &mut ticket, Waker::noop());
    cell.leave(&mut ticket);
    gate
}

fn take(cell: &Salvage, capacity: usize) -> (Option<i32>, Vec<u8>) {
    let mut out = Vec::new();
    let cqe = cell.take_bytes(capacity, false, &mut |bytes| out.extend_from_slice(bytes));
    (cqe.map(|cqe| cqe.result), out)
}

#[test]
fn what_orphans_bring_comes_out_in_order_with_errors_and_the_end() {
    let cell = Salvage::default();
    assert!(!cell.is_active());
    cell.orphaned(1, key(0), Lane::Receive, false);
    assert_eq!(ask(&cell, Lane::Receive), Gate::Wait);
    cell.settle(1, key(0), [Item::Bytes(b"hello".to_vec())]);
    cell.settle(0, key(9), [Item::Error(libc::ECONNRESET), Item::End]);
    assert_eq!(ask(&cell, Lane::Receive), Gate::Take);
    assert_eq!(take(&cell, 3), (Some(3), b"hel".to_vec()));
    assert_eq!(take(&cell, 9), (Some(2), b"lo".to_vec()));
    assert_eq!(take(&cell, 9), (Some(-libc::ECONNRESET), vec![]));
    assert_eq!(take(&cell, 9), (Some(0), vec![]));
    assert_eq!(take(&cell, 9), (None, vec![]));
    assert!(!cell.is_active());
    assert_eq!(ask(&cell, Lane::Receive), Gate::Go);
}

#[test]
fn writes_wait_for_overlapping_orphans_only() {
    let cell = Salvage::default();
    cell.orphaned(1, key(0), Lane::WriteAt { start: 100, end: 200 }, false);
    assert_eq!(ask(&cell, Lane::WriteAt { start: 0, end: 100 }), Gate::Go);
    assert_eq!(ask(&cell, Lane::WriteAt { start: 200, end: 300 }), Gate::Go);
    assert_eq!(ask(&cell, Lane::WriteAt { start: 199, end: 300 }), Gate::Wait);
    assert_eq!(ask(&cell, Lane::Settle), Gate::Wait);
    assert_eq!(ask(&cell, Lane::Receive), Gate::Go);
    cell.settle_write(1, key(0), Ok(7), None);
    assert_eq!(ask(&cell, Lane::Settle), Gate::Go);
    assert_eq!(cell.take_fate(), Some(Ok(7)));
    assert_eq!(cell.take_fate(), None);
}

/// Nobody writes behind a write of which it is not known how much was taken, and nobody asks for its fate before.
#[test]
fn a_write_to_a_stream_waits_for_the_fate_of_a_dropped_one() {
    let cell = Salvage::default();
    cell.orphaned(1, key(0), Lane::Send, false);
    assert_eq!(ask(&cell, Lane::Send), Gate::Wait);
    assert_eq!(ask(&cell, Lane::Settle), Gate::Wait);
    assert_eq!(ask(&cell, Lane::Receive), Gate::Go);
    cell.settle_write(1, key(0), Ok(7), None);
    assert_eq!(ask(&cell, Lane::Send), Gate::Go);
}

/// Clones of an open file have one position, which one operation at a time goes by, also one that was dropped.
#[test]
fn one_at_a_time_goes_by_a_position() {
    let file = tempfile::tempfile().unwrap();
    let (one, other) = (file.as_raw_fd(), file.try_clone().unwrap());
    let cell = Salvage::default();
    cell.add_descriptor(one);
    assert_eq!(ask(&cell, Lane::PositionRead), Gate::Go);
    cell.add_descriptor(other.as_raw_fd());
    assert_eq!(ask(&cell, Lane::PositionRead), Gate::Hold);
    assert_eq!(ask(&cell, Lane::PositionRead), Gate::Wait);
    assert_eq!(ask(&cell, Lane::PositionWrite), Gate::Wait);
    assert_eq!(ask(&cell, Lane::WriteAt { start: 0, end: 1 }), Gate::Go);
    // The one that held it is dropped, and has it until it is over.
    cell.orphaned(1, key(0), Lane::PositionRead, false);
    assert_eq!(ask(&cell, Lane::PositionWrite), Gate::Wait);
    cell.settle_position(1, key(0), Undo::Nothing, []);
    assert_eq!(ask(&cell, Lane::PositionWrite), Gate::Hold);
    cell.free_position();
    assert_eq!(ask(&cell, Lane::PositionRead), Gate::Hold);
}

#[test]
fn a_reader_that_waits_adopts_and_one_that_leaves_gives_the_orphan_up() {
    let cell = Salvage::default();
    cell.orphaned(1, key(0), Lane::Receive, false);
    let mut ticket = None;
    assert_eq!(cell.ask(Lane::Receive, &mut ticket, Waker::noop()), Gate::Wait);
    assert!(cell.is_adopted());
    assert_eq!(cell.leave(&mut ticket), vec![(1, key(0))]);
    assert!(!cell.is_adopted());
}

#[test]
fn what_is_left_without_an_orphan_takes_nobodys_stake() {
    let cell = Arc::new(Salvage::default());
    let stake = Stake::new(cell.clone());
    // As progress is left between two steps.
    cell.settle_write(0, Key { index: 0, generation: stake.key.generation }, Ok(1), None);
    assert_eq!(ask(&cell, Lane::Settle), Gate::Wait);
    drop(stake);
    assert_eq!(ask(&cell, Lane::Settle), Gate::Go);
}

/// Of what lay here a part was taken to be passed on, and may come back: what lies behind it waits.
#[test]
fn what_may_be_given_back_comes_before_what_is_here() {
    let cell = Arc::new(Salvage::default());
    cell.settle(0, key(9), [Item::Bytes(b"one two".to_vec())]);
    assert_eq!(take(&cell, 4), (Some(4), b"one ".to_vec()));
    let stake = Stake::of_read(cell.clone());
    assert_eq!(ask(&cell, Lane::Receive), Gate::Wait);
    cell.give_back(Undo::Back(4), b"one ".to_vec());
    drop(stake);
    assert_eq!(ask(&cell, Lane::Receive), Gate::Take);
    assert_eq!(cell.take_all_bytes(), b"one two");
}

#[test]
fn a_lost_orphan_is_an_error_and_not_a_hang() {
    let cell = Salvage::default();
    cell.orphaned(1, key(0), Lane::Receive, false);
    cell.lose();
    assert_eq!(ask(&cell, Lane::Receive), Gate::Lost);
}

#[test]
fn what_is_put_back_comes_before_the_rest_of_what_it_was_part_of() {
    let cell = Salvage::default();
    cell.put_back(b"one two three".to_vec());
    assert_eq!(take(&cell, 8), (Some(8), b"one two ".to_vec()));
    cell.put_back(b"two ".to_vec());
    assert_eq!(take(&cell, 2), (Some(2), b"tw".to_vec()));
    assert_eq!(cell.take_all_bytes(), b"o three");
}
