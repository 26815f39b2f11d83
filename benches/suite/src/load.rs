//! Connections to one server, and what is sent over them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::http;
use crate::sys;
use crate::work::Work;

/// If nothing comes back for so long, the server hangs.
pub const SILENCE: Duration = Duration::from_secs(5);

/// Where a server is, and what stands behind it.
pub struct Target {
    pub work: Work,
    pub port: u16,
    /// Where its Unix socket is, or the file that it serves.
    pub path: PathBuf,
    /// Of a proxy: what it connects to.
    pub upstream: Option<TcpListener>,
}

pub struct Load {
    pub connections: Vec<Connection>,
    /// `depth` requests.
    pub request: Vec<u8>,
    /// What comes back for them is as long.
    pub response_bytes: usize,
    pub depth: u64,
    /// Where all answers are written, over each other: nobody reads them.
    pub scratch: Vec<u8>,
    /// Latencies of every window, in nanoseconds.
    pub latency: Histogram<u64>,
    /// A request and its answer.
    one: (Vec<u8>, Vec<u8>),
}

pub struct Connection {
    pub socket: OwnedFd,
    /// Behind a proxy: the connection that it has made for this one.
    pub upstream: Option<TcpStream>,
    pub sent: Instant,
}

pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("bounds that fit")
}

impl Load {
    /// For requests and answers like these, `depth` of them at once.
    pub fn of(one: (Vec<u8>, Vec<u8>), depth: usize) -> Load {
        Load {
            connections: Vec::new(),
            request: one.0.repeat(depth),
            response_bytes: one.1.len() * depth,
            depth: depth as u64,
            scratch: vec![0; one.1.len() * depth],
            latency: histogram(),
            one,
        }
    }

    /// Connects, and checks once on each connection that the right answer comes back.
    pub fn connect(&mut self, target: &Target, connections: usize) -> io::Result<()> {
        self.connections.reserve(connections);
        // A proxy's other end has to be known, and datagrams may be lost among others.
        let alone = matches!(target.work, Work::Proxy { .. } | Work::Udp { .. });
        let together = if alone { 1 } else { TOGETHER };
        for first in (0..connections).step_by(together) {
            let some = first..connections.min(first + together);
            let asked = some.map(|_| Asked::new(target, &self.one.0, &self.one.1)).collect::<io::Result<Vec<_>>>()?;
            for asked in asked {
                self.connections.push(asked.check(target, &self.one.1)?);
            }
        }
        Ok(())
    }

    /// Breaks the connections off. What was measured stays.
    pub fn disconnect(&mut self) {
        self.connections.clear();
    }
}

/// A connection that the server closes once it has answered.
pub fn once(target: &Target, request: &[u8], answer: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port))?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.write_all(request)?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    if back == answer { Ok(()) } else { Err(io::Error::other("the server gave a wrong answer")) }
}

/// An echo of so many bytes.
pub fn pattern(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let bytes: Vec<u8> = (0..bytes).map(|byte| byte as u8).collect();
    (bytes.clone(), bytes)
}

/// A request and its answer. An echo's buffer is for `depth` of them.
pub fn exchange(target: &Target, depth: usize) -> io::Result<(Vec<u8>, Vec<u8>)> {
    Ok(match target.work {
        Work::Http => (http::REQUEST.to_vec(), http::RESPONSE.to_vec()),
        Work::FileServer { bytes } | Work::Mixed { bytes } => {
            let mut answer = http::head(bytes);
            let head = answer.len();
            answer.resize(head + bytes, 0);
            File::open(&target.path)?.read_exact_at(&mut answer[head..], 0)?;
            (http::REQUEST.to_vec(), answer)
        }
        Work::Proxy { bytes, .. } => pattern(bytes),
        work => pattern(work.buffer_bytes() / depth),
    })
}

/// How many connect before the first of them waits for its answer: more would show in the memory of a server that has
/// buffers only for those that are not idle.
const TOGETHER: usize = 16;

/// A connection that waits for its first answer.
struct Asked {
    socket: File,
    upstream: Option<TcpStream>,
}

impl Asked {
    fn new(target: &Target, request: &[u8], answer: &[u8]) -> io::Result<Asked> {
        let limit = Some(SILENCE);
        let socket: OwnedFd = match target.work {
            Work::Udp { .. } => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.connect((Ipv4Addr::LOCALHOST, target.port))?;
                socket.set_read_timeout(limit)?;
                socket.into()
            }
            Work::Unix { .. } => {
                let stream = UnixStream::connect(&target.path)?;
                stream.set_read_timeout(limit)?;
                stream.into()
            }
            _ => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, target.port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(limit)?;
                stream.into()
            }
        };
        let mut socket = File::from(socket);
        socket.write_all(request)?;
        let upstream = target.upstream.as_ref().map(|listener| pass(listener, request, answer)).transpose()?;
        Ok(Asked { socket, upstream })
    }

    /// The right answer, and nothing else.
    fn check(self, target: &Target, answer: &[u8]) -> io::Result<Connection> {
        let (Asked { mut socket, upstream }, mut back) = (self, vec![0; answer.len()]);
        match target.work {
            Work::Udp { .. } => {
                let received = socket.read(&mut back)?;
                back.truncate(received);
            }
            Work::Unix { .. } => socket.read_exact(&mut back)?,
            _ => {
                socket.read_exact(&mut back)?;
                // Thousands of them come and go; ports must not run out.
                sys::reset_on_close(socket.as_raw_fd())?;
            }
        }
        if back != answer {
            return Err(io::Error::other("the server gave a wrong answer"));
        }
        if sys::has_more(socket.as_raw_fd()) {
            return Err(io::Error::other("the server gave more than an answer"));
        }
        Ok(Connection { socket: socket.into(), upstream, sent: Instant::now() })
    }
}

impl Connection {
    pub fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The other end of a proxy: takes what it passes on, and answers.
fn pass(listener: &TcpListener, request: &[u8], answer: &[u8]) -> io::Result<TcpStream> {
    sys::wait_readable(listener.as_raw_fd(), SILENCE)?;
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    let mut passed = vec![0; request.len()];
    stream.read_exact(&mut passed)?;
    if passed != request {
        return Err(io::Error::other("the server passed on something else"));
    }
    if sys::has_more(stream.as_raw_fd()) {
        return Err(io::Error::other("the server passed on more than it was given"));
    }
    stream.write_all(answer)?;
    Ok(stream)
}
