//! Chains by themselves, completion by completion, as `tests/chains` sees them through the kernel.

use std::sync::Arc;

use super::chained::INDEX_MASK;
use super::*;
use crate::ring::{LINKS_AT_MOST, Sqe};

const CANCELED: i32 = -libc::ECANCELED;
const HARD: Link = Link { hard: true, ..Link::LOUD };

fn silent(exact: i32) -> Link {
    Link { exact: Some(exact), silent: true, hard: false }
}

/// The slots with one chain, whose links name the descriptors 100, 101, …
fn chain(links: &[Link]) -> (Slots, Key) {
    let mut slots = Slots::new();
    let key = slots.next_key();
    let numbers = std::array::from_fn(|number| if number == 0 { -1 } else { 100 + number as RawFd });
    let chained = Chained::new(key, links, numbers, links.len() as u32, None);
    slots.insert_chain(key, 3, Waker::noop().clone(), chained);
    (slots, key)
}

/// What a completion of a link brings up, as a word.
fn hear(slots: &mut Slots, key: Key, number: u32, result: i32) -> &'static str {
    match slots.hear(key.link(number), Cqe::of(result)) {
        Heard::Nothing => "nothing",
        Heard::Stale => "stale",
        Heard::Wake(_) => "wake",
        Heard::Delivered(..) => "delivered",
        Heard::Cancel => "cancel",
        Heard::CancelLater => "cancel later",
        Heard::CancelAgain(times) => ["remind", "not found", "not found twice", "not found thrice"][times as usize],
    }
}

/// The results that the future takes.
fn results(slots: &mut Slots, key: Key) -> Vec<i32> {
    let mut all = Vec::new();
    while let Some((cqe, last)) = slots.take_link(key) {
        all.push(cqe.result);
        assert_eq!(last, slots.len() == 0, "the last one frees the slot");
    }
    all
}

#[test]
fn a_link_s_name_is_its_own_and_tells_its_chain() {
    // More than there may be chains: what is no link's name is itself.
    let many = Key { index: INDEX_MASK + 77, generation: 9 };
    assert_eq!((many.number(), many.whole()), (None, many));
    for index in [0, 1, 77, INDEX_MASK - 16] {
        let key = Key { index, generation: 9 };
        assert_eq!((key.number(), key.whole()), (None, key));
        for number in [0, 1, 5, RETRY, CANCEL] {
            let link = key.link(number);
            assert_eq!((link.number(), link.whole(), link.generation), (Some(number), key, 9));
            assert_eq!(Addressee::of(Addressee::Slot(link).user_data()), Addressee::Slot(link));
        }
        assert_ne!(key.link(1), key.link(2));
    }
}

#[test]
fn the_last_completion_wakes_in_whatever_order_they_come() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let (mut slots, key) = chain(&[Link::LOUD; 3]);
        let slot = slots.get_mut(key).unwrap();
        assert!(slot.is_chain() && !slot.is_done() && slot.position() == 3);
        assert_eq!(slots.in_flight().count(), 1);
        for (at, number) in order.into_iter().enumerate() {
            assert!(slots.take_link(key).is_none());
            let heard = hear(&mut slots, key, number, 10 + number as i32);
            assert_eq!(heard, if at == 2 { "wake" } else { "nothing" });
        }
        assert!(slots.get_mut(key).unwrap().is_done());
        assert_eq!(slots.in_flight().count(), 0);
        assert_eq!(results(&mut slots, key), [10, 11, 12]);
        assert_eq!(hear(&mut slots, key, 1, 0), "stale");
        assert_eq!(hear(&mut slots, key, CANCEL, 0), "nothing");
        assert_eq!(hear(&mut slots, key, RETRY, 0), "nothing");
        let next = slots.next_key();
        slots.insert(next, 0, Waker::noop().clone());
        assert!(!slots.get_mut(next).unwrap().is_chain());
    }
}

#[test]
fn a_loud_failure_is_followed_by_a_word_of_every_other() {
    // What is silent tells, too, once something loud has failed before it.
    let (mut slots, key) = chain(&[Link::LOUD, silent(4), Link::LOUD]);
    assert_eq!(hear(&mut slots, key, 0, -5), "nothing");
    assert_eq!(hear(&mut slots, key, 2, CANCELED), "nothing");
    assert_eq!(hear(&mut slots, key, 1, CANCELED), "wake");
    assert_eq!(results(&mut slots, key), [-5, CANCELED, CANCELED]);
    // Nothing is no failure where it is not known what to expect.
    let (mut slots, key) = chain(&[Link::LOUD, silent(4), Link::LOUD]);
    assert_eq!(hear(&mut slots, key, 0, 0), "nothing");
    assert_eq!(hear(&mut slots, key, 2, 9), "wake");
    assert_eq!(results(&mut slots, key), [0, 4, 9]);
    // A hard one lets the others go on, and they may be silent.
    let (mut slots, key) = chain(&[HARD, silent(4), Link::LOUD]);
    assert_eq!(hear(&mut slots, key, 0, -5), "nothing");
    assert_eq!(hear(&mut slots, key, 2, 9), "wake");
    assert_eq!(results(&mut slots, key), [-5, 4, 9]);
    // Less than was asked for is a failure where that is known.
    let (mut slots, key) = chain(&[Link { exact: Some(8), ..Link::LOUD }, silent(4), Link::LOUD]);
    assert_eq!(hear(&mut slots, key, 0, 7), "nothing");
    assert_eq!(hear(&mut slots, key, 2, CANCELED), "nothing");
    assert_eq!(hear(&mut slots, key, 1, CANCELED), "wake");
    let (mut slots, key) = chain(&[Link { exact: Some(8), ..Link::LOUD }, silent(4), Link::LOUD]);
    assert_eq!(hear(&mut slots, key, 0, 8), "nothing");
    assert_eq!(hear(&mut slots, key, 2, 0), "wake");
    assert_eq!(results(&mut slots, key), [8, 4, 0]);
}

#[test]
fn a_silent_failure_is_the_last_word() {
    let links = [silent(4), silent(7), Link::LOUD];
    let (mut slots, key) = chain(&links);
    assert_eq!(hear(&mut slots, key, 2, 1), "wake");
    assert_eq!(results(&mut slots, key), [4, 7, 1]);
    let (mut slots, key) = chain(&links);
    assert_eq!(hear(&mut slots, key, 1, -28), "wake");
    assert_eq!(results(&mut slots, key), [4, -28, CANCELED]);
    let (mut slots, key) = chain(&links);
    assert_eq!(hear(&mut slots, key, 0, 3), "wake");
    assert_eq!(results(&mut slots, key), [3, CANCELED, CANCELED]);
    // The last of all has nothing behind it.
    let (mut slots, key) = chain(&[Link::LOUD, Link { exact: Some(4), ..Link::LOUD }]);
    assert_eq!(hear(&mut slots, key, 1, -9), "nothing");
    assert_eq!(hear(&mut slots, key, 0, 0), "wake");
}

#[test]
fn whoever_takes_all_at_once_gets_what_is_left() {
    let (mut slots, key) = chain(&[Link::LOUD; 3]);
    let cell = Arc::new(Elsewhere::default());
    assert!(matches!(slots.get_mut(key).unwrap().replace(State::Watched(cell)), State::Waiting(_)));
    assert!(slots.get_mut(key).unwrap().is_chain());
    for number in 0..2 {
        assert_eq!(hear(&mut slots, key, number, number as i32), "nothing");
    }
    let Heard::Delivered(Delivered::Watched(_, earlier), last) = slots.hear(key.link(2), Cqe::of(2)) else {
        panic!("it was watched")
    };
    assert_eq!((earlier.map(|earlier| earlier.len()), last.result, slots.len()), (Some(2), 2, 0));
    // Of what is done and was taken in part.
    for (taken, left) in [(0, Some(2)), (1, Some(1)), (2, None)] {
        let (mut slots, key) = chain(&[Link::LOUD; 3]);
        for number in 0..3 {
            hear(&mut slots, key, number, 5 + number as i32);
        }
        (0..taken).for_each(|_| assert!(slots.take_link(key).is_some_and(|(_, last)| !last)));
        let (State::Done(last), earlier) = slots.remove(key) else { panic!("it is done") };
        assert_eq!((last.result, earlier.map(|earlier| earlier.len())), (7, left));
    }
    // One that is in flight holds its waker and nothing else.
    let (mut slots, key) = chain(&[Link::LOUD; 3]);
    hear(&mut slots, key, 0, 5);
    assert!(matches!(slots.remove(key), (State::Waiting(_), None)));
}

#[test]
fn a_chain_that_is_to_end_is_cancelled_until_it_has() {
    let (mut slots, key) = chain(&[Link::LOUD; 3]);
    assert_eq!(slots.chains_naming(101).collect::<Vec<_>>(), [(key, false)]);
    assert_eq!(slots.chains_naming(99).count(), 0);
    assert_eq!(slots.stop_chain(key), [0, 1, 2]);
    assert_eq!(slots.chains_naming(102).collect::<Vec<_>>(), [(key, true)]);
    assert!(slots.stop_chain(key).is_empty(), "the first answers have not come");
    // None was found, and nothing has moved: in a while.
    assert_eq!(hear(&mut slots, key, CANCEL, -libc::ENOENT), "nothing");
    assert_eq!(hear(&mut slots, key, CANCEL, -libc::EALREADY), "nothing");
    assert_eq!(hear(&mut slots, key, CANCEL, -libc::ENOENT), "cancel later");
    assert_eq!(hear(&mut slots, key, RETRY, -libc::ETIME), "cancel");
    // One was found: its word is on the way, and what comes after that is cancelled, too.
    assert_eq!(slots.stop_chain(key), [0, 1, 2]);
    assert_eq!(hear(&mut slots, key, CANCEL, 0), "nothing");
    assert_eq!(hear(&mut slots, key, CANCEL, -libc::ENOENT), "nothing");
    assert_eq!(hear(&mut slots, key, CANCEL, -libc::ENOENT), "nothing");
    assert_eq!(hear(&mut slots, key, 0, 0), "cancel");
    // One has ended meanwhile, so another may have begun.
    assert_eq!(slots.stop_chain(key), [1, 2]);
    assert_eq!(hear(&mut slots, key, CANCEL, -libc::ENOENT), "nothing");
    assert_eq!(hear(&mut slots, key, 1, 0), "nothing");
    assert_eq!(hear(&mut slots, key, CANCEL, -libc::ENOENT), "cancel");
    assert_eq!(slots.stop_chain(key), [2]);
    assert_eq!(hear(&mut slots, key, 2, CANCELED), "wake");
    assert_eq!(slots.chains_naming(102).count(), 0);
    assert!(slots.stop_chain(key).is_empty());
    assert_eq!(hear(&mut slots, key, CANCEL, 0), "nothing");
    assert_eq!(results(&mut slots, key), [0, 0, CANCELED]);
}

#[test]
fn a_name_of_another_chain_is_stale() {
    let (mut slots, key) = chain(&[Link::LOUD; 2]);
    let older = Key { generation: key.generation.wrapping_sub(1), ..key };
    assert_eq!(hear(&mut slots, older, 0, 0), "stale");
    assert!(slots.take_link(older).is_none() && slots.stop_chain(older).is_empty());
    assert_eq!(slots.drain().len(), 1);
}

/// An entry that opens a file into a place of the table, or closes what is there.
fn by_place(opcode: u8) -> Sqe {
    Sqe { file_index: 6, ..Sqe::new(opcode) }
}

#[test]
fn a_place_that_was_lent_comes_back_with_a_file_unless_a_link_has_closed_it() {
    let (open, close) = (io_uring::opcode::OpenAt::CODE, io_uring::opcode::Close::CODE);
    let nop = io_uring::opcode::Nop::CODE;
    // By the results: opened by the second link, which the fourth and the fifth would close.
    for (results, is_filled) in [
        ([0, 0, 0, 0, 0], false),
        ([0, 0, 0, -5, 0], false),
        ([0, 0, 0, 0, CANCELED], false),
        ([0, 0, 0, -5, CANCELED], true),
        ([0, 7, 0, -5, CANCELED], true),
        ([0, -2, 0, -9, -9], false),
    ] {
        let mut lent = Lent { place: 5, opener: 0, closers: 0 };
        for (number, opcode) in [nop, open, nop, close, close].into_iter().enumerate() {
            lent.note(number, &if opcode == nop { Sqe::new(nop) } else { by_place(opcode) });
        }
        // Those that name no place change nothing.
        lent.note(0, &Sqe::new(open));
        lent.note(2, &Sqe::new(close));
        assert_eq!((lent.opener, lent.closers), (1, 0b11000));
        let mut slots = Slots::new();
        let key = slots.next_key();
        let chained = Chained::new(key, &[HARD; 5], [-1; LINKS_AT_MOST], 5, Some(lent));
        slots.insert_chain(key, 3, Waker::noop().clone(), chained);
        for (number, result) in results.into_iter().enumerate() {
            assert_eq!(slots.place_left, None, "it is at work still");
            hear(&mut slots, key, number as u32, result);
        }
        assert_eq!(slots.place_left.take(), Some((5, is_filled)), "{results:?}");
        assert_eq!(slots.chain(key).unwrap().take_place(), None, "once");
    }
    let (mut slots, key) = chain(&[Link::LOUD]);
    assert_eq!(hear(&mut slots, key, 0, 0), "wake");
    assert_eq!(slots.place_left, None);
}

#[test]
fn what_a_cancel_has_not_found_is_cancelled_again_as_long_as_it_is_in_flight() {
    const NOT_FOUND: i32 = -libc::ENOENT;
    let mut slots = Slots::new();
    let key = slots.next_key();
    slots.insert(key, 3, Waker::noop().clone());
    assert_eq!(hear(&mut slots, key, CANCEL, NOT_FOUND), "not found");
    assert_eq!(hear(&mut slots, key, CANCEL_AGAIN, NOT_FOUND), "not found twice");
    assert_eq!(hear(&mut slots, key, RETRY, -libc::ETIME), "remind");
    assert_eq!(hear(&mut slots, key, CANCEL_AGAIN, NOT_FOUND), "not found thrice");
    assert_eq!(hear(&mut slots, key, CANCEL_AGAIN, -libc::EALREADY), "nothing");
    assert_eq!(hear(&mut slots, key, CANCEL, NOT_FOUND), "not found", "somebody else asks");
    assert!(slots.deliver(key, Cqe::of(7)).is_some());
    for number in [CANCEL, CANCEL_AGAIN, RETRY] {
        assert_eq!(hear(&mut slots, key, number, NOT_FOUND), "nothing", "it is done");
    }
    assert_eq!(slots.take_done(key).map(|cqe| cqe.result), Some(7));
    let next = slots.next_key();
    slots.insert(next, 4, Waker::noop().clone());
    assert_eq!(hear(&mut slots, key, CANCEL, NOT_FOUND), "nothing", "the slot is another's");
}
