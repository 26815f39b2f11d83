//! The options that sockets of several types share: `socket(7)`, `ip(7)`, `ipv6(7)`, `tcp(7)`. Each is described once and
//! is a method of every type that it means something on.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use crate::sys::{
    self, Flag, MaybeMilliseconds, MaybeNumber, Microseconds, Number, Seconds, SocketOption, option_text,
};

const SOCKET: libc::c_int = libc::SOL_SOCKET;
const IP: libc::c_int = libc::IPPROTO_IP;
const IPV6: libc::c_int = libc::IPPROTO_IPV6;
const TCP: libc::c_int = libc::IPPROTO_TCP;

// Not in every C library's headers.
const SO_BUSY_POLL: libc::c_int = 46;
const SO_INCOMING_CPU: libc::c_int = 49;
const SO_INCOMING_NAPI_ID: libc::c_int = 56;

/// `IFNAMSIZ`, with the NUL.
const NAME_BYTES: usize = 16;

/// The same options for each of the types.
macro_rules! options {
    ([$($type:ty),+] $options:tt) => { $( define!($type, $options); )+ };
}

/// Options that are read and set by a typed [`SocketOption`].
macro_rules! define {
    ($type:ty, {$(
        $(#[$get_doc:meta])* $get:ident() -> $value:ty;
        $(#[$set_doc:meta])* $set:ident($argument:ident) = $coding:ty, $level:expr, $name:expr;
    )*}) => {
        impl $type {$(
            $(#[$get_doc])*
            ///
            /// # Errors
            /// Those of `getsockopt(2)`.
            pub fn $get(&self) -> io::Result<$value> {
                SocketOption::<$coding>::new($level, $name).get(self.as_raw_fd())
            }

            $(#[$set_doc])*
            ///
            /// # Errors
            /// Those of `setsockopt(2)`.
            pub fn $set(&self, $argument: $value) -> io::Result<()> {
                SocketOption::<$coding>::new($level, $name).set(self.as_raw_fd(), $argument)
            }
        )*}
    };
}

options! { [TcpSocket, TcpStream, TcpListener, UdpSocket] {
    /// The size of the kernel's send buffer, in bytes: `SO_SNDBUF`. The kernel doubles what is set, for its own needs.
    send_buffer_size() -> u32;
    /// Sets the size of the kernel's send buffer, in bytes; at most `net.core.wmem_max` is taken.
    set_send_buffer_size(bytes) = Number, SOCKET, libc::SO_SNDBUF;

    /// The size of the kernel's receive buffer, in bytes: `SO_RCVBUF`. The kernel doubles what is set, for its own needs.
    recv_buffer_size() -> u32;
    /// Sets the size of the kernel's receive buffer, in bytes; at most `net.core.rmem_max` is taken. For TCP it decides how
    /// large the window can be, so it is set before connecting or listening.
    set_recv_buffer_size(bytes) = Number, SOCKET, libc::SO_RCVBUF;

    /// Whether an address can be bound that was in use a short while ago: `SO_REUSEADDR`.
    reuseaddr() -> bool;
    /// Lets an address be bound that was in use a short while ago. It counts when the socket is bound.
    set_reuseaddr(on) = Flag, SOCKET, libc::SO_REUSEADDR;

    /// Whether several sockets of one user may be bound to the same address and port, and share what comes: `SO_REUSEPORT`.
    reuseport() -> bool;
    /// Lets several sockets of one user be bound to the same address and port: each of them, before it is bound.
    set_reuseport(on) = Flag, SOCKET, libc::SO_REUSEPORT;

    /// The mark of the packets that are sent, for filters and routing: `SO_MARK`.
    mark() -> u32;
    /// Marks the packets that are sent; needs `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    set_mark(mark) = Number, SOCKET, libc::SO_MARK;

    /// The priority of the packets that are sent, for queueing: `SO_PRIORITY`.
    priority() -> u32;
    /// Sets the priority of the packets that are sent; more than 6 needs `CAP_NET_ADMIN`.
    set_priority(priority) = Number, SOCKET, libc::SO_PRIORITY;

    /// The CPU that has handled the last packet, or that was set: `SO_INCOMING_CPU`. `None` if there was none.
    incoming_cpu() -> Option<u32>;
    /// Has this one of several sockets that share a port (`SO_REUSEPORT`) get what its CPU handles, from Linux 6.2 on.
    set_incoming_cpu(cpu) = MaybeNumber, SOCKET, SO_INCOMING_CPU;

    /// How long a call that finds nothing looks at the device's queue itself: `SO_BUSY_POLL`. Zero: it does not.
    busy_poll() -> Duration;
    /// Sets how long a call that finds nothing looks at the device's queue itself, in whole microseconds; more than before
    /// needs `CAP_NET_ADMIN`.
    set_busy_poll(time) = Microseconds, SOCKET, SO_BUSY_POLL;

    /// The time-to-live of packets, in hops: `IP_TTL`.
    ttl() -> u32;
    /// Sets the time-to-live of packets, in hops: `InvalidInput` for 0 or more than 255. Connections that are accepted
    /// inherit it.
    set_ttl(hops) = Number, IP, libc::IP_TTL;

    /// The hop limit of packets on a socket of IPv6: `IPV6_UNICAST_HOPS`.
    unicast_hops_v6() -> u32;
    /// Sets the hop limit of packets on a socket of IPv6.
    set_unicast_hops_v6(hops) = Number, IPV6, libc::IPV6_UNICAST_HOPS;

    /// The type of service of packets on a socket of IPv4: `IP_TOS`.
    tos_v4() -> u32;
    /// Sets the type of service of packets on a socket of IPv4.
    set_tos_v4(tos) = Number, IP, libc::IP_TOS;

    /// The traffic class of packets on a socket of IPv6: `IPV6_TCLASS`.
    tclass_v6() -> u32;
    /// Sets the traffic class of packets on a socket of IPv6.
    set_tclass_v6(tclass) = Number, IPV6, libc::IPV6_TCLASS;

    /// Whether a socket of IPv6 is for IPv6 only: `IPV6_V6ONLY`.
    only_v6() -> bool;
    /// Has a socket of IPv6 take no IPv4, or both. Before it is bound.
    set_only_v6(on) = Flag, IPV6, libc::IPV6_V6ONLY;
} }

options! { [TcpSocket, TcpStream, TcpListener] {
    /// Whether small writes are sent at once: `TCP_NODELAY`.
    nodelay() -> bool;
    /// Has small writes sent at once, or gathered (Nagle's algorithm).
    set_nodelay(nodelay) = Flag, TCP, libc::TCP_NODELAY;

    /// Whether a connection on which nothing comes is asked for signs of life: `SO_KEEPALIVE`.
    keepalive() -> bool;
    /// Has a connection on which nothing comes asked for signs of life, so that one whose peer is gone ends with `TimedOut`.
    set_keepalive(on) = Flag, SOCKET, libc::SO_KEEPALIVE;

    /// For how long nothing has to come before the peer is asked: `TCP_KEEPIDLE`.
    keepalive_time() -> Duration;
    /// Sets for how long nothing has to come before the peer is asked, in whole seconds.
    set_keepalive_time(time) = Seconds, TCP, libc::TCP_KEEPIDLE;

    /// The time between two questions: `TCP_KEEPINTVL`.
    keepalive_interval() -> Duration;
    /// Sets the time between two questions, in whole seconds.
    set_keepalive_interval(time) = Seconds, TCP, libc::TCP_KEEPINTVL;

    /// How many questions may stay without an answer: `TCP_KEEPCNT`.
    keepalive_retries() -> u32;
    /// Sets how many questions may stay without an answer.
    set_keepalive_retries(count) = Number, TCP, libc::TCP_KEEPCNT;

    /// For how long what was sent may stay without an acknowledgement: `TCP_USER_TIMEOUT`. `None` is the system's default.
    user_timeout() -> Option<Duration>;
    /// Sets for how long what was sent may stay without an acknowledgement before the connection ends with `TimedOut`, in
    /// whole milliseconds.
    set_user_timeout(time) = MaybeMilliseconds, TCP, libc::TCP_USER_TIMEOUT;

    /// Bytes of a segment, at most: `TCP_MAXSEG`.
    mss() -> u32;
    /// Sets how many bytes a segment has at most, before connecting or listening.
    set_mss(bytes) = Number, TCP, libc::TCP_MAXSEG;

    /// How many bytes may lie unsent before the socket counts as not writable: `TCP_NOTSENT_LOWAT`.
    notsent_lowat() -> u32;
    /// Sets how many bytes may lie unsent before the socket counts as not writable, and writes wait.
    set_notsent_lowat(bytes) = Number, TCP, libc::TCP_NOTSENT_LOWAT;
} }

options! { [TcpSocket, TcpStream] {
    /// Whether segments are acknowledged at once: `TCP_QUICKACK`.
    quickack() -> bool;
    /// Has segments acknowledged at once, or later with data. The kernel goes back on it as it sees fit.
    set_quickack(quickack) = Flag, TCP, libc::TCP_QUICKACK;

    /// Whether only full segments are sent: `TCP_CORK`.
    cork() -> bool;
    /// Has only full segments sent, for 200 ms at most, until it is set off again: then what is left is.
    set_cork(on) = Flag, TCP, libc::TCP_CORK;

    /// Whether connecting waits for the first write and sends that with it: `TCP_FASTOPEN_CONNECT`.
    fastopen_connect() -> bool;
    /// Has connecting wait for the first write, which then is sent with it, if the peer has allowed that before
    /// (`net.ipv4.tcp_fastopen`). Before connecting. What is sent so may arrive twice.
    set_fastopen_connect(on) = Flag, TCP, libc::TCP_FASTOPEN_CONNECT;
} }

options! { [TcpSocket, TcpListener] {
    /// How many connections that came with their first bytes may wait to be established: `TCP_FASTOPEN`. 0: such are not
    /// taken.
    fastopen() -> u32;
    /// Takes connections that come with their first bytes, so many of which may wait to be established, if the system
    /// allows it (`net.ipv4.tcp_fastopen` with 2).
    set_fastopen(queue_len) = Number, TCP, libc::TCP_FASTOPEN;

    /// For how long a connection waits for its first bytes before it is accepted without: `TCP_DEFER_ACCEPT`. Zero: not.
    defer_accept() -> Duration;
    /// Has connections accepted only when their first bytes are here, or after so long, in whole seconds (rounded by the
    /// kernel to its retransmissions).
    set_defer_accept(time) = Seconds, TCP, libc::TCP_DEFER_ACCEPT;
} }

/// What does not fit the form above.
macro_rules! more_options {
    ($($type:ty),+) => {$(
        impl $type {
            /// The name of the device that the socket is bound to: `SO_BINDTODEVICE`. `None`: to none.
            ///
            /// # Errors
            /// Those of `getsockopt(2)`.
            pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
                let name = option_text(self.as_raw_fd(), SOCKET, libc::SO_BINDTODEVICE)?;
                Ok((!name.is_empty()).then_some(name))
            }

            /// Binds the socket to the device (interface) of this name: only what comes and goes by that is its. `None`
            /// takes it back, which needs `CAP_NET_RAW`.
            ///
            /// # Errors
            /// Those of `setsockopt(2)` (`ENODEV`); `InvalidInput` for a name of 16 bytes or more.
            pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
                let name = interface.unwrap_or_default();
                if name.len() >= NAME_BYTES || name.contains(&0) {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "no interface has such a name"));
                }
                sys::bind_device(self.as_raw_fd(), name)
            }

            /// The number of the device's queue (NAPI) by which the last packet came: `SO_INCOMING_NAPI_ID`. `None` if
            /// there was none, or if the device has none.
            ///
            /// # Errors
            /// Those of `getsockopt(2)`.
            pub fn incoming_napi_id(&self) -> io::Result<Option<u32>> {
                let id = SocketOption::<Number>::new(SOCKET, SO_INCOMING_NAPI_ID).get(self.as_raw_fd())?;
                Ok((id != 0).then_some(id))
            }

            /// The error that is pending on the socket, once: `SO_ERROR`.
            ///
            /// # Errors
            /// Those of `getsockopt(2)`.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                super::socket::take_error(self.as_raw_fd())
            }
        }
    )+};
}

more_options!(TcpSocket, TcpStream, TcpListener, UdpSocket);

macro_rules! congestion {
    ($($type:ty),+) => {$(
        impl $type {
            /// The algorithm of congestion control: `TCP_CONGESTION`.
            ///
            /// # Errors
            /// Those of `getsockopt(2)`.
            pub fn congestion(&self) -> io::Result<String> {
                let name = option_text(self.as_raw_fd(), TCP, libc::TCP_CONGESTION)?;
                Ok(String::from_utf8_lossy(&name).into_owned())
            }

            /// Chooses the algorithm of congestion control, one of `net.ipv4.tcp_available_congestion_control`.
            ///
            /// # Errors
            /// Those of `setsockopt(2)` (`NotFound`; `PermissionDenied` for one that not everybody may choose).
            pub fn set_congestion(&self, name: &str) -> io::Result<()> {
                sys::set_congestion(self.as_raw_fd(), name)
            }
        }
    )+};
}

congestion!(TcpSocket, TcpStream, TcpListener);

macro_rules! linger {
    ($($type:ty),+) => {$(
        impl $type {
            /// How long closing waits for what is not sent yet, in whole seconds: `SO_LINGER`, `socket(7)`.
            ///
            /// # Errors
            /// Those of `getsockopt(2)`.
            pub fn linger(&self) -> io::Result<Option<Duration>> {
                Ok(sys::linger(self.as_raw_fd())?.map(|seconds| Duration::from_secs(seconds.into())))
            }

            /// Sets how long closing waits for what is not sent yet; parts of seconds are cut off, zero resets the
            /// connection. Closing then goes to a worker thread of the kernel, so that it does not hold up the loop.
            ///
            /// # Errors
            /// Those of `setsockopt(2)`.
            pub fn set_linger(&self, duration: Option<Duration>) -> io::Result<()> {
                let seconds = duration.map(|duration| duration.as_secs().try_into().unwrap_or(u32::MAX));
                sys::set_linger(self.as_raw_fd(), seconds)?;
                self.fd().set_lingers(seconds.is_some());
                Ok(())
            }

            /// Has closing reset the connection: [`set_linger`](Self::set_linger) with zero.
            ///
            /// # Errors
            /// Those of `setsockopt(2)`.
            pub fn set_zero_linger(&self) -> io::Result<()> {
                self.set_linger(Some(Duration::ZERO))
            }
        }
    )+};
}

linger!(TcpSocket, TcpStream);
