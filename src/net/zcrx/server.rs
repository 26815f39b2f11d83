//! The loop's side of a receive queue: a task that enters the ring, and what it has in common with those who receive.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::buf::Lease;
use crate::net::OwnedReadHalf;
use crate::op::{Operation, PollAdd, zcrx::harvest};
use crate::ring::CardRing;
use crate::sys::zcrx::Return;

use super::bell::Bell;

/// How long the end of a loop waits for the kernel to let go of the connections, at most: so often so long.
const TRIES: u32 = 100;
const TRY_NS: u64 = 10_000_000;
/// Work of the kernel's is done in pieces, and a flag of its says that there is more. So many pieces from which nothing has come mean
/// that it only forgot to take the flag back (seen with 7.3).
const ENTERS_IN_VAIN: u32 = 64;

pub(super) fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the loop that this receive queue was opened on has ended")
}

/// What users and the server have in common.
pub(super) struct Shared {
    window: u32,
    state: Mutex<State>,
}

impl Shared {
    pub fn new(window: u32) -> Shared {
        Shared { window, state: Mutex::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub(super) struct State {
    pub flows: slab::Slab<Flow>,
    flow_number: u32,
    /// Those that found no memory, and perhaps some that have gone since.
    starving: Vec<usize>,
    /// What the server is to do, in this order.
    pub commands: VecDeque<Command>,
    /// Wakes it.
    pub server: Option<Waker>,
    /// How many `Queue`s there are, those of receivers among them.
    pub users: usize,
    pub ended: bool,
}

pub(super) enum Command {
    /// Has the flow with this key receive. It is told that it does already.
    Receive(usize),
    /// Ends the receive with this name.
    Cancel(u64),
}

/// A connection.
pub(super) struct Flow {
    /// Tells it from the others that have its key before and after.
    number: u32,
    raw: RawFd,
    /// By the bell.
    watched: bool,
    /// Open until the kernel's receive is over: closing sends no end while it is not.
    connection: Option<OwnedReadHalf>,
    pub arrived: VecDeque<Lease>,
    pub end: Option<io::Result<()>>,
    pub waker: Option<Waker>,
    /// What the submission that is under way may still bring.
    window_left: u32,
    pub phase: Phase,
    /// There was no memory though all of it was there.
    in_vain: bool,
    pub dropped: bool,
}

/// How it stands with the receive of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nobody has asked for one.
    Idle,
    /// There is a command.
    Asked,
    InKernel,
    /// It is asked for when memory comes back.
    Starving,
}

impl Flow {
    pub fn name(&self, key: usize) -> u64 {
        u64::from(self.number) << 32 | key as u64
    }
}

/// The loop's side.
pub(super) struct Server {
    ring: CardRing,
    shared: Arc<Shared>,
    /// How many pieces had come back when the kernel was last told to look at them.
    flushed_at: u64,
    /// Somebody found no memory, and waits for more to come back.
    starved: bool,
}

pub(super) async fn serve(mut server: Server, bell: Bell) {
    let mut ringing: Option<Operation<'_, PollAdd>> = None;
    poll_fn(|cx| {
        loop {
            if !server.turn(cx.waker(), &bell) {
                return Poll::Ready(());
            }
            match Pin::new(ringing.get_or_insert_with(|| bell.rings())).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => ringing = None,
            }
            if let Err(error) = bell.quiet(&server.ring) {
                server.shared.end(&error);
                return Poll::Ready(());
            }
        }
    })
    .await;
}

impl Server {
    pub fn new(ring: CardRing, shared: Arc<Shared>) -> Server {
        Server { ring, shared, flushed_at: 0, starved: false }
    }

    /// Does what there is to do. False when nobody wants anything any more, or the ring has failed.
    fn turn(&mut self, waker: &Waker, bell: &Bell) -> bool {
        let own = waker.clone();
        let before = self.shared.state().server.replace(own);
        drop(before);
        let mut in_vain = 0;
        loop {
            if self.starved && self.flush() {
                self.starved = false;
                self.shared.state().feed();
            }
            self.obey(bell);
            let more = match self.ring.enter() {
                Ok(more) => more,
                Err(error) => {
                    self.shared.end(&error);
                    return false;
                }
            };
            in_vain = if self.hand_out() { 0 } else { in_vain + 1 };
            self.look_for_memory(waker);
            let state = self.shared.state();
            if state.users == 0 && state.flows.is_empty() {
                return false;
            }
            if (!more || in_vain == ENTERS_IN_VAIN) && state.commands.is_empty() {
                return true;
            }
        }
    }

    /// Stages what users have asked for.
    fn obey(&mut self, bell: &Bell) {
        let mut state = self.shared.state();
        while self.ring.has_room()
            && let Some(command) = state.commands.pop_front()
        {
            match command {
                // Dropped before it was begun.
                Command::Receive(key) if state.flows[key].dropped => {
                    let gone = state.flows.remove(key);
                    drop(state);
                    drop(gone);
                    state = self.shared.state();
                }
                Command::Receive(key) => {
                    let flow = &mut state.flows[key];
                    if !std::mem::replace(&mut flow.watched, true) {
                        bell.watch(flow.raw);
                    }
                    (flow.window_left, flow.phase) = (self.shared.window, Phase::InKernel);
                    self.ring.receive(flow.raw, flow.name(key), self.shared.window);
                }
                Command::Cancel(name) => self.ring.cancel(name),
            }
        }
    }

    /// Hands out what has come, if anything has.
    fn hand_out(&mut self) -> bool {
        let mut any = false;
        // Nothing of this is dropped, and nobody is woken, while the lock is held.
        let (mut wakers, mut flows, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        let mut guard = self.shared.state();
        let state = &mut *guard;
        harvest(&mut self.ring, |arrival, lease| {
            any = true;
            let key = (arrival.name & u64::from(u32::MAX)) as usize;
            let flow = &mut state.flows[key];
            assert_eq!(flow.name(key), arrival.name, "a flow stays until its receive is over");
            if let Some(lease) = lease {
                flow.window_left = flow.window_left.saturating_sub(arrival.cqe.result as u32);
                flow.in_vain = false;
                if flow.dropped { leases.push(lease) } else { flow.arrived.push_back(lease) }
            }
            let waker = flow.waker.take();
            if !arrival.cqe.more() {
                if flow.dropped {
                    flows.push(state.flows.remove(key));
                } else {
                    state.receive_is_over(key, arrival.cqe.result);
                }
            }
            wakers.extend(waker);
        });
        drop(guard);
        drop((flows, leases));
        wakers.into_iter().for_each(Waker::wake);
        any
    }

    /// Has the kernel look at what has come back since it did last. Tells whether there was anything.
    fn flush(&mut self) -> bool {
        let back = self.ring.area.back();
        let any = std::mem::replace(&mut self.flushed_at, back) != back;
        if any {
            self.ring.flush_returns();
        }
        any
    }

    /// Sees to those who found no memory.
    fn look_for_memory(&mut self, waker: &Waker) {
        if self.starved || self.shared.state().starving.is_empty() {
            return;
        }
        if self.flush() {
            return self.shared.state().feed();
        }
        match self.ring.area.wake_at_return(self.flushed_at, waker.clone()) {
            Return::Will => self.starved = true,
            // Just now: the next time round.
            Return::Has => self.shared.state().feed(),
            // All is there: it tries once more, and then believes it.
            Return::Never => {
                let mut wakers = Vec::new();
                let mut guard = self.shared.state();
                let state = &mut *guard;
                for &key in &state.starving {
                    let Some(flow) = state.flows.get_mut(key).filter(|flow| flow.phase == Phase::Starving) else {
                        continue;
                    };
                    if std::mem::replace(&mut flow.in_vain, true) {
                        flow.phase = Phase::Idle;
                        flow.end = Some(Err(io::Error::from_raw_os_error(libc::ENOMEM)));
                        wakers.extend(flow.waker.take());
                    }
                }
                state.feed();
                drop(guard);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }
}

impl State {
    /// A connection to receive from; gives its key.
    pub fn insert(&mut self, connection: OwnedReadHalf, raw: RawFd) -> usize {
        self.flow_number = self.flow_number.wrapping_add(1) & (u32::MAX >> 1);
        self.flows.insert(Flow {
            number: self.flow_number,
            raw,
            watched: false,
            connection: Some(connection),
            arrived: VecDeque::new(),
            end: None,
            waker: None,
            window_left: 0,
            phase: Phase::Idle,
            in_vain: false,
            dropped: false,
        })
    }

    /// Has a connection received from.
    pub fn ask(&mut self, key: usize) {
        self.flows[key].phase = Phase::Asked;
        self.commands.push_back(Command::Receive(key));
    }

    /// The last completion of a receive has said this.
    fn receive_is_over(&mut self, key: usize, result: i32) {
        let flow = &mut self.flows[key];
        flow.phase = Phase::Idle;
        match -result {
            libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC => {
                flow.phase = Phase::Starving;
                self.starving.push(key);
                return;
            }
            libc::EINTR => {}
            // That the loop has ended is known already.
            _ if flow.end.is_some() => {}
            errno if errno > 0 => flow.end = Some(Err(io::Error::from_raw_os_error(errno))),
            // That was the window.
            _ if flow.window_left == 0 || result > 0 => {}
            _ => flow.end = Some(Ok(())),
        }
        if flow.end.is_none() && flow.arrived.is_empty() {
            self.ask(key);
        }
    }

    /// Has those begin again who found no memory.
    fn feed(&mut self) {
        for key in std::mem::take(&mut self.starving) {
            if self.flows.get(key).is_some_and(|flow| flow.phase == Phase::Starving) {
                self.ask(key);
            }
        }
    }
}

impl Shared {
    /// Tells everybody that nothing comes any more, and why.
    fn end(&self, error: &io::Error) {
        let mut wakers = Vec::new();
        let mut state = self.state();
        state.ended = true;
        for (_, flow) in &mut state.flows {
            if flow.end.is_none() {
                flow.end = Some(Err(io::Error::new(error.kind(), error.to_string())));
            }
            wakers.extend(flow.waker.take());
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The loop ends, or nobody wants anything any more.
impl Drop for Server {
    fn drop(&mut self) {
        let before = self.shared.state().server.take();
        drop(before);
        self.shared.end(&ended());
        let in_kernel = |shared: &Shared| shared.state().flows.iter().any(|(_, flow)| flow.phase == Phase::InKernel);
        if in_kernel(&self.shared) && self.ring.has_room() {
            self.ring.cancel_everything();
        }
        let mut tries = 0;
        while in_kernel(&self.shared) && tries < TRIES && self.ring.wait(TRY_NS).is_ok() {
            self.hand_out();
            tries += 1;
        }
        // Whoever still holds a receiver drops the flow with it.
        let mut state = self.shared.state();
        state.commands.clear();
        let mut gone = Vec::new();
        state.flows.retain(|_, flow| {
            flow.phase = Phase::Idle;
            if flow.dropped {
                gone.extend(flow.connection.take());
            }
            !flow.dropped
        });
        drop(state);
        drop(gone);
    }
}
