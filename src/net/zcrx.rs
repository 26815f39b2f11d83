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

mod bell;
mod server;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use self::bell::Bell;
use self::server::{Command, Phase, Server, Shared, ended, serve};
use super::OwnedReadHalf;
use crate::buf::Lease;
use crate::event_loop::spawn;
use crate::fd::{Fd, HasFd};
use crate::ring::CardRing;
use crate::sys;

/// Without a word about it.
const MEMORY: usize = 16 << 20;
const WINDOW: u32 = 256 << 10;
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
        let bell = Bell::new()?;
        let ring = CardRing::new(card, self.memory, bell.eventfd())?;
        let shared = Arc::new(Shared::new(self.window));
        let queue = Queue::new(shared.clone());
        drop(spawn(serve(Server::new(ring, shared), bell)));
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
        let key = state.insert(connection, raw);
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
        let begins = flow.arrived.is_empty() && flow.end.is_none() && flow.phase == Phase::Idle;
        if begins {
            state.ask(self.key);
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
        let (gone, server) = match flow.phase {
            Phase::Idle | Phase::Starving => (Some(state.flows.remove(self.key)), None),
            // It goes in its turn.
            Phase::Asked => (None, state.server.clone()),
            // It goes when the kernel has let go of it.
            Phase::InKernel => {
                let name = flow.name(self.key);
                state.commands.push_back(Command::Cancel(name));
                (None, state.server.clone())
            }
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
