//! The links of a chain, as a tuple of operations.

use super::standing::{Standing, Standings};
use super::{Arena, Cqe, Lane, Left, Next, Op, OwnFile, Salvage, Sqe, leave};
use crate::ring::LINKS_AT_MOST;
use crate::slot::Key;
use std::ops::DerefMut;

/// An operation that can be a link of a chain: it has one completion, and none at a file's position, which would be looked
/// up before what comes first in the chain has moved it.
pub trait Link: Op {
    /// It is put into a chain: a transfer that is to be whole must be a failure to the kernel if it is not.
    #[doc(hidden)]
    fn join(&mut self) {}

    /// Whether it opens a file for the chain.
    #[doc(hidden)]
    const OPENS: bool = false;

    /// Whether it wants a file that was opened for the chain before it.
    #[doc(hidden)]
    const NEEDS_OPEN: bool = false;

    /// The file that it opens for the chain.
    #[doc(hidden)]
    fn own_file(&mut self) -> Option<&mut OwnFile> {
        None
    }
}

/// Any link, in its place.
pub trait Member {
    #[doc(hidden)]
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32>;
    #[doc(hidden)]
    fn step(&mut self, cqe: Cqe) -> Next;
    #[doc(hidden)]
    fn lane(&self) -> Lane;
    #[doc(hidden)]
    fn progress(&self) -> usize;
    #[doc(hidden)]
    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe>;
    #[doc(hidden)]
    fn abandon(&mut self);
    #[doc(hidden)]
    fn lose(&mut self);
    #[doc(hidden)]
    fn own_file(&mut self) -> Option<&mut OwnFile>;
    /// Ends it without anybody who takes its output: that goes to its object, or is undone.
    #[doc(hidden)]
    fn finish(&mut self, salvage: Option<&Salvage>, cqe: Cqe, loop_id: u64, key: Key);
    /// The same where it had ended before the rest was submitted. What it received comes before what its object has left.
    #[doc(hidden)]
    fn undo(&mut self, salvage: &Salvage, cqe: Cqe);
}

const TAKEN: &str = "a link is there until its chain has ended";

impl<O: Link> Member for Option<O> {
    fn prepare(&mut self, sqe: &mut Sqe, arena: &mut Arena) -> Result<(), i32> {
        self.as_mut().expect(TAKEN).prepare(sqe, arena)
    }

    fn step(&mut self, cqe: Cqe) -> Next {
        self.as_mut().expect(TAKEN).step(cqe)
    }

    fn lane(&self) -> Lane {
        self.as_ref().expect(TAKEN).lane()
    }

    fn progress(&self) -> usize {
        self.as_ref().expect(TAKEN).progress()
    }

    fn take_salvaged(&mut self, salvage: &Salvage) -> Option<Cqe> {
        self.as_mut().expect(TAKEN).take_salvaged(salvage)
    }

    fn abandon(&mut self) {
        self.as_mut().expect(TAKEN).abandon();
    }

    fn lose(&mut self) {
        if let Some(op) = self {
            op.lose();
        }
    }

    fn own_file(&mut self) -> Option<&mut OwnFile> {
        self.as_mut()?.own_file()
    }

    fn finish(&mut self, salvage: Option<&Salvage>, cqe: Cqe, loop_id: u64, key: Key) {
        let Some(mut op) = self.take() else { return };
        match salvage {
            Some(salvage) => leave(&mut op, salvage, cqe, loop_id, key),
            None => drop(op.complete(cqe)),
        }
    }

    fn undo(&mut self, salvage: &Salvage, cqe: Cqe) {
        let Some(mut op) = self.take() else { return };
        match op.leave(cqe) {
            Left::Received(items) => salvage.put_items_back(items),
            Left::Written { fate, last_step } => {
                salvage.settle_write(0, Key { index: 0, generation: 0 }, fate, last_step);
            }
            Left::Nothing | Left::Position { .. } => {}
        }
    }
}

/// The links of a chain: operations, in their order.
pub trait Links: Sized + 'static {
    /// What they give, in their order.
    type Output;

    #[doc(hidden)]
    const COUNT: usize;

    /// How each of them stands.
    #[doc(hidden)]
    type Standings: DerefMut<Target = [Standing]> + Send + Sync + Unpin;

    /// Which of them opens a file for the chain.
    #[doc(hidden)]
    const OPENER: Option<usize>;

    #[doc(hidden)]
    fn link(&mut self, number: usize) -> &mut dyn Member;

    #[doc(hidden)]
    fn complete(self, results: &[Cqe; LINKS_AT_MOST]) -> Self::Output;
}

/// Links that one more can be added to.
pub trait Extend: Links {
    #[doc(hidden)]
    type With<B: Link>: Links;

    #[doc(hidden)]
    fn with<B: Link>(self, next: B) -> Self::With<B>;

    /// And one more.
    #[doc(hidden)]
    fn stand<B: Link>(standings: Self::Standings, next: Standing) -> <Self::With<B> as Links>::Standings;
}

/// One link gives its output bare.
impl<A: Link> Links for (Option<A>,) {
    type Output = A::Output;
    type Standings = Standings<1>;
    const COUNT: usize = 1;
    const OPENER: Option<usize> = if A::OPENS { Some(0) } else { None };

    fn link(&mut self, _number: usize) -> &mut dyn Member {
        &mut self.0
    }

    fn complete(self, results: &[Cqe; LINKS_AT_MOST]) -> A::Output {
        self.0.expect(TAKEN).complete(results[0])
    }
}

impl<A: Link> Extend for (Option<A>,) {
    type With<B: Link> = (Option<A>, Option<B>);

    fn with<B: Link>(self, next: B) -> Self::With<B> {
        (self.0, Some(next))
    }

    fn stand<B: Link>(standings: Standings<1>, next: Standing) -> Standings<2> {
        let [first] = standings.0;
        Standings([first, next])
    }
}

macro_rules! links {
    ($count:literal: $($link:ident $number:tt),+) => {
        impl<$($link: Link),+> Links for ($(Option<$link>,)+) {
            type Output = ($($link::Output,)+);
            type Standings = Standings<$count>;
            const COUNT: usize = $count;
            const OPENER: Option<usize> = {
                let mut opener = None;
                $(if $link::OPENS {
                    opener = Some($number);
                })+
                opener
            };

            fn link(&mut self, number: usize) -> &mut dyn Member {
                match number {
                    $($number => &mut self.$number,)+
                    _ => unreachable!("a link that is not there"),
                }
            }

            fn complete(self, results: &[Cqe; LINKS_AT_MOST]) -> Self::Output {
                ($(self.$number.expect(TAKEN).complete(results[$number]),)+)
            }
        }
    };
}

macro_rules! extend {
    ($($link:ident $number:tt),+) => {
        impl<$($link: Link),+> Extend for ($(Option<$link>,)+) {
            type With<Next_: Link> = ($(Option<$link>,)+ Option<Next_>);

            fn with<Next_: Link>(self, next: Next_) -> Self::With<Next_> {
                ($(self.$number,)+ Some(next))
            }

            #[allow(non_snake_case, reason = "each is named as its link's type")]
            fn stand<Next_: Link>(
                standings: Self::Standings,
                next: Standing,
            ) -> <Self::With<Next_> as Links>::Standings {
                let [$($link),+] = standings.0;
                Standings([$($link,)+ next])
            }
        }
    };
}

links!(2: A 0, B 1);
links!(3: A 0, B 1, C 2);
links!(4: A 0, B 1, C 2, D 3);
links!(5: A 0, B 1, C 2, D 3, E 4);
links!(6: A 0, B 1, C 2, D 3, E 4, F 5);
extend!(A 0, B 1);
extend!(A 0, B 1, C 2);
extend!(A 0, B 1, C 2, D 3);
extend!(A 0, B 1, C 2, D 3, E 4);
