//! Zero-copy receive: what arrives for a TCP connection is put by the network card into memory of the program's, and is read
//! there (zcrx, `IORING_OP_RECV_ZC`).
//!
//! A program takes one of the card's receive queues for a loop ([`Options::open`]), and gives it the connections whose packets
//! come by that queue ([`Queue::receive`]). What they receive are [`Lease`]s of the card's own memory: nothing is copied, and a lease
//! that is dropped goes back to the card.
//!
//! # What it takes
//! * Linux 6.15 or newer, built with `CONFIG_IO_URING_ZCRX`, and `CAP_NET_ADMIN`.
//! * A card whose driver hands queues over (bnxt, mlx5, gve, fbnic). It has to split headers from data, and to send this queue what
//!   is meant for it and nothing else, which `ethtool` sets up:
//!
//! ```sh
//! ethtool -G eth0 tcp-data-split on
//! ethtool -X eth0 equal 7                                    # everything else to the queues 0 to 6
//! ethtool -N eth0 flow-type tcp4 dst-port 9000 action 7      # and these to queue 7
//! ```
//!
//! Elsewhere [`open`](Options::open) is an error that says what is missing, of kind [`Unsupported`](io::ErrorKind::Unsupported) where it is
//! the kernel, the driver or the queue. Linux 7.3 can do all of this without a card, by copying
//! ([`without_card`](Options::without_card)): to develop and to test.
//!
//! ```no_run
//! use ringtoss::net::{TcpListener, zcrx};
//!
//! # async fn run() -> std::io::Result<()> {
//! let queue = zcrx::Options::new().card("eth0", 7).memory(64 << 20).open()?;
//! let listener = TcpListener::bind("[::]:9000").await?;
//! loop {
//!     let (read, mut write) = listener.accept().await?.0.into_split();
//!     let mut received = queue.receive(read)?;
//!     ringtoss::spawn(async move {
//!         while let Some(Ok(bytes)) = received.next().await {
//!             // The card's own memory, as it came.
//!             if write.write_all(bytes).await.0.is_err() {
//!                 break;
//!             }
//!         }
//!     });
//! }
//! # }
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::OwnedReadHalf;
use crate::buf::Lease;
use crate::event_loop::spawn;
use crate::fd::{Fd, HasFd};
use crate::op::{Operation, PollAdd, zcrx::harvest};
use crate::ring::CardRing;
use crate::sys::{self, zcrx::Return};

/// Without a word about it.
const MEMORY: usize = 16 << 20;
const WINDOW: u32 = 256 << 10;
/// How long the end of a loop waits for the kernel to let go of the connections, at most: so often so long.
const TRIES: u32 = 100;
const TRY_NS: u64 = 10_000_000;
/// Work of the kernel's is done in pieces, and a flag of its says that there is more. So many pieces from which nothing has come mean
/// that it only forgot to take the flag back (seen with 7.3).
const ENTERS_IN_VAIN: u32 = 64;

/// Which queue of which card, and how much memory: the settings of a [`Queue`].
#[derive(Clone, Debug)]
pub struct Options {
    from: From,
    memory: usize,
    window: u32,
}

#[derive(Clone, Debug)]
enum From {
    Unsaid,
    Card(String, u32),
    Nowhere,
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}

impl Options {
    /// 16 MiB of memory, and of no card yet.
    pub fn new() -> Options {
        Options { from: From::Unsaid, memory: MEMORY, window: WINDOW }
    }

    /// The receive queue with this number (from 0) of the network interface with this name.
    pub fn card(&mut self, interface: impl Into<String>, queue: u32) -> &mut Options {
        self.from = From::Card(interface.into(), queue);
        self
    }

    /// No card: connections of every interface, of loopback, too, can be given to the queue, and the kernel copies
    /// (`ZCRX_REG_NODEV`). Everything else is as with one.
    pub fn without_card(&mut self) -> &mut Options {
        self.from = From::Nowhere;
        self
    }

    /// How many bytes of memory there are to receive into, for all connections of the queue; rounded up to whole pages. They are
    /// locked (`RLIMIT_MEMLOCK`). What leases hold is missing: when all is held, the card has nowhere to put what comes, and the
    /// peers wait.
    pub fn memory(&mut self, bytes: usize) -> &mut Options {
        self.memory = bytes;
        self
    }

    /// How many bytes one connection may receive that nobody has taken yet (256 KiB, if not said; at least one): then it is the peer
    /// that waits.
    pub fn window(&mut self, bytes: u32) -> &mut Options {
        self.window = bytes.max(1);
        self
    }

    /// Takes the queue over for the loop that runs here (`IORING_REGISTER_ZCRX_IFQ` of `io_uring_register(2)`, on a ring of its own): a task
    /// of the loop serves it from now on, until the last [`Queue`] and [`Receiver`] of it are dropped.
    ///
    /// # Errors
    /// `Unsupported`, `PermissionDenied`, `NotFound` (no such interface or queue), `AddrInUse` (it is taken), `OutOfMemory` (also of
    /// the limit of locked memory): each says what is missing. `InvalidInput` if neither a card was named nor
    /// [`without_card`](Options::without_card) said.
    ///
    /// # Panics
    /// Where no loop runs.
    #[doc(alias = "IORING_REGISTER_ZCRX_IFQ")]
    pub fn open(&self) -> io::Result<Queue> {
        let card = match &self.from {
            From::Card(interface, queue) => {
                let number = sys::zcrx::interface_number(interface).map_err(|error| {
                    io::Error::new(error.kind(), format!("there is no network interface {interface:?}: {error}"))
                })?;
                Some((number, *queue))
            }
            From::Nowhere => None,
            From::Unsaid => return Err(io::Error::new(io::ErrorKind::InvalidInput, "no network card was named")),
        };
        let bell = Fd::new(sys::eventfd()?);
        let ring = CardRing::new(card, self.memory, bell.raw())?;
        let shared = Arc::new(Shared { window: self.window, state: Mutex::new(State::default()) });
        let queue = Queue::new(shared.clone());
        drop(spawn(serve(Server { ring, shared, flushed_at: 0, starved: false }, bell)));
        Ok(queue)
    }
}

/// A receive queue of a network card, taken over for a loop; or the kernel's imitation. Clones are the same queue; it may be used on
/// any thread, and what it receives is served by the loop that it was opened on.
pub struct Queue {
    shared: Arc<Shared>,
}

impl Queue {
    fn new(shared: Arc<Shared>) -> Queue {
        shared.state().users += 1;
        Queue { shared }
    }

    /// Receives what comes for a connection from now on, and keeps it open. It should be one whose packets come by this queue: what
    /// comes otherwise is copied by the kernel.
    ///
    /// # Errors
    /// `InvalidInput` while a receive on the connection that was dropped is not over, or what it brought has not been read. `NotConnected`
    /// when the loop of the queue has ended.
    pub fn receive(&self, connection: OwnedReadHalf) -> io::Result<Receiver> {
        let fd: &Fd = connection.as_ref().ring_fd();
        if fd.salvage_if_made().is_some_and(|salvage| salvage.is_active()) {
            let text = "a receive on this connection was dropped: what it brings has to be read before";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let raw = fd.raw();
        let mut state = self.shared.state();
        if state.ended {
            return Err(ended());
        }
        state.flow_number = state.flow_number.wrapping_add(1) & (u32::MAX >> 1);
        let number = state.flow_number;
        let key = state.flows.insert(Flow {
            number,
            raw,
            connection: Some(connection),
            arrived: VecDeque::new(),
            end: None,
            waker: None,
            window_left: 0,
            receives: false,
            in_kernel: false,
            starves: false,
            in_vain: false,
            dropped: false,
        });
        drop(state);
        Ok(Receiver { queue: self.clone(), key, ended: false })
    }
}

impl Clone for Queue {
    fn clone(&self) -> Queue {
        Queue::new(self.shared.clone())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.users -= 1;
        // The last one goes: the server, too.
        let waker = if state.users == 0 { state.server.clone() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state();
        f.debug_struct("Queue")
            .field("connections", &state.flows.len())
            .field("ended", &state.ended)
            .finish_non_exhaustive()
    }
}

/// What comes for one connection, without copying. Made by [`Queue::receive`].
///
/// Dropped, the kernel's receive is cancelled, what has come and was not taken is gone, and then the connection is closed, unless its
/// write half is kept.
pub struct Receiver {
    queue: Queue,
    key: usize,
    ended: bool,
}

impl Receiver {
    /// The next piece; `None` at the end of the stream and after an error. Dropped, it loses nothing.
    ///
    /// Pieces are as large as the packets, or smaller. A lease that is kept holds its memory from the card.
    ///
    /// # Errors
    /// Those of `recv(2)` (`ConnectionReset`, …); `NotConnected` when the loop of the queue has ended.
    pub async fn next(&mut self) -> Option<io::Result<Lease>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same, to be polled.
    ///
    /// # Errors
    /// As [`next`](Receiver::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Lease>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // A clone may run anything, so it is made before anything is locked, and what it replaces is dropped afterwards.
        let waker = cx.waker().clone();
        let mut state = self.queue.shared.state();
        let flow = &mut state.flows[self.key];
        let arrived = flow.arrived.pop_front();
        // Where there is nothing more, it is told to go on before what came last is worked on.
        let begins = flow.arrived.is_empty() && flow.end.is_none() && !flow.receives;
        if begins {
            flow.receives = true;
            state.commands.push_back(Command::Receive(self.key));
        }
        let server = if begins { state.server.clone() } else { None };
        let flow = &mut state.flows[self.key];
        let mut before = None;
        let polled = match (arrived, flow.end.take()) {
            (Some(lease), end) => {
                flow.end = end;
                Poll::Ready(Some(Ok(lease)))
            }
            (None, Some(end)) => {
                self.ended = true;
                Poll::Ready(end.err().map(Err))
            }
            (None, None) => {
                before = flow.waker.replace(waker);
                Poll::Pending
            }
        };
        drop(state);
        drop(before);
        if let Some(server) = server {
            server.wake();
        }
        polled
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let mut state = self.queue.shared.state();
        let flow = &mut state.flows[self.key];
        flow.dropped = true;
        let left = (std::mem::take(&mut flow.arrived), flow.waker.take());
        let (gone, server) = if !flow.receives || flow.starves {
            (Some(state.flows.remove(self.key)), None)
        } else {
            // It goes when the kernel has let go of it; if it is not there yet, in its turn.
            if flow.in_kernel {
                let name = flow.name(self.key);
                state.commands.push_back(Command::Cancel(name));
            }
            (None, state.server.clone())
        };
        drop(state);
        drop((left, gone));
        if let Some(server) = server {
            server.wake();
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("ended", &self.ended).finish_non_exhaustive()
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the loop that this receive queue was opened on has ended")
}

/// What users and the server have in common.
struct Shared {
    window: u32,
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct State {
    flows: slab::Slab<Flow>,
    flow_number: u32,
    /// What the server is to do, in this order.
    commands: VecDeque<Command>,
    /// Wakes it.
    server: Option<Waker>,
    /// How many `Queue`s there are, those of receivers among them.
    users: usize,
    ended: bool,
}

enum Command {
    /// Has the flow with this key receive. It is told that it does already.
    Receive(usize),
    /// Ends the receive with this name.
    Cancel(u64),
}

/// A connection.
struct Flow {
    /// Tells it from the others that have its key before and after.
    number: u32,
    raw: std::os::fd::RawFd,
    /// Open until the kernel's receive is over: closing sends no end while it is not.
    connection: Option<OwnedReadHalf>,
    arrived: VecDeque<Lease>,
    end: Option<io::Result<()>>,
    waker: Option<Waker>,
    /// What the submission that is under way may still bring.
    window_left: u32,
    /// Whether a submission is under way or asked for.
    receives: bool,
    /// Whether it is under way.
    in_kernel: bool,
    /// It is asked for when memory comes back.
    starves: bool,
    /// There was no memory though all of it was there.
    in_vain: bool,
    dropped: bool,
}

impl Flow {
    fn name(&self, key: usize) -> u64 {
        u64::from(self.number) << 32 | key as u64
    }
}

/// The loop's side.
struct Server {
    ring: CardRing,
    shared: Arc<Shared>,
    /// How many pieces had come back when the kernel was last told to look at them.
    flushed_at: u64,
    /// Somebody found no memory, and waits for more to come back.
    starved: bool,
}

async fn serve(mut server: Server, bell: Fd) {
    let mut ringing: Option<Operation<'_, PollAdd>> = None;
    poll_fn(|cx| {
        loop {
            if !server.turn(cx.waker()) {
                return Poll::Ready(());
            }
            let ring = || Operation::on(&bell, PollAdd::new(bell.raw(), libc::POLLIN));
            match Pin::new(ringing.get_or_insert_with(ring)).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => ringing = None,
            }
            // Before the ring is looked at: what comes afterwards sets it again.
            sys::eventfd_clear(bell.raw());
        }
    })
    .await;
}

impl Server {
    /// Does what there is to do. False when nobody wants anything any more, or the ring has failed.
    fn turn(&mut self, waker: &Waker) -> bool {
        let own = waker.clone();
        let before = self.shared.state().server.replace(own);
        drop(before);
        let mut in_vain = 0;
        loop {
            if self.starved && self.flush() {
                self.starved = false;
                self.shared.state().feed();
            }
            self.obey();
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
    fn obey(&mut self) {
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
                    (flow.window_left, flow.in_kernel) = (self.shared.window, true);
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
                flow.window_left = flow.window_left.saturating_sub(arrival.result as u32);
                flow.in_vain = false;
                if flow.dropped { leases.push(lease) } else { flow.arrived.push_back(lease) }
            }
            if !arrival.more {
                flow.in_kernel = false;
                if flow.dropped {
                    flows.push(state.flows.remove(key));
                    return;
                }
                flow.receive_is_over(arrival.result);
                if !flow.receives && flow.end.is_none() && flow.arrived.is_empty() {
                    flow.receives = true;
                    state.commands.push_back(Command::Receive(key));
                }
            }
            wakers.extend(flow.waker.take());
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
        if self.starved || !self.shared.state().flows.iter().any(|(_, flow)| flow.starves) {
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
                let mut state = self.shared.state();
                for (_, flow) in state.flows.iter_mut().filter(|(_, flow)| flow.starves) {
                    if std::mem::replace(&mut flow.in_vain, true) {
                        (flow.starves, flow.receives) = (false, false);
                        flow.end = Some(Err(io::Error::from_raw_os_error(libc::ENOMEM)));
                        wakers.extend(flow.waker.take());
                    }
                }
                state.feed();
                drop(state);
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }
}

impl State {
    /// Has those begin again who found no memory.
    fn feed(&mut self) {
        let State { flows, commands, .. } = self;
        for (key, flow) in flows.iter_mut().filter(|(_, flow)| flow.starves) {
            flow.starves = false;
            commands.push_back(Command::Receive(key));
        }
    }
}

impl Flow {
    /// The last completion of a receive has said this.
    fn receive_is_over(&mut self, result: i32) {
        self.receives = false;
        match -result {
            libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC => (self.starves, self.receives) = (true, true),
            libc::EINTR => {}
            // That the loop has ended is known already.
            _ if self.end.is_some() => {}
            errno if errno > 0 => self.end = Some(Err(io::Error::from_raw_os_error(errno))),
            // That was the window.
            _ if self.window_left == 0 || result > 0 => {}
            _ => self.end = Some(Ok(())),
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
        let in_kernel = |shared: &Shared| shared.state().flows.iter().any(|(_, flow)| flow.in_kernel);
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
            flow.receives = false;
            if flow.dropped {
                gone.extend(flow.connection.take());
            }
            !flow.dropped
        });
        drop(state);
        drop(gone);
    }
}
