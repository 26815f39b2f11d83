//! `many_loops` serves on several loops, within its bounds, and ends in order.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::util::{PATIENCE, Program, example, run, text};

/// The server, and where it listens.
struct Server {
    program: Program,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Option<Server> {
        let program = Program::start("many_loops", &[&["127.0.0.1:0"], arguments].concat())?;
        let line = program.line("listening on ");
        Some(Server { program, address: line.strip_prefix("listening on ").unwrap().to_string() })
    }

    /// What all loops have served, when it has ended well.
    fn ended(self) -> String {
        let served = self.program.line("served ");
        assert!(self.program.wait().success());
        served
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client { stream: BufReader::new(stream) }
    }
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn send(&mut self, bytes: &str) {
        self.stream.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// The next answer: its status and body, and whether another request may follow.
    fn answer(&mut self) -> (String, String, bool) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "it ends in the head: {head}");
        }
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).unwrap();
        let goes_on = head.contains("Connection: keep-alive");
        (head.lines().next().unwrap().to_string(), text(&body).to_string(), goes_on)
    }

    fn get(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let (status, body, goes_on) = self.answer();
        assert_eq!((&*status, goes_on), ("HTTP/1.1 200 OK", true));
        body
    }

    fn is_closed(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(text(&rest), ""),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

const GET: &str = "GET / HTTP/1.1\r\n\r\n";

#[test]
fn all_loops_serve_and_what_they_served_is_counted() {
    let Some(server) = Server::start(&["--loops", "2", "--pin"]) else { return };
    let mut clients: Vec<_> = (0..40).map(|_| server.connect()).collect();
    let mut loops = BTreeSet::new();
    for round in 0..3 {
        for client in &mut clients {
            let body = client.get(&format!("/{round}"));
            let (number, rest) = body.split_once(": ").unwrap();
            assert_eq!(rest, format!("/{round}: 200 OK\n"));
            loops.insert(number.to_string());
        }
    }
    // By 2^-39 all of them go to one.
    assert_eq!(loops, BTreeSet::from(["loop 0".to_string(), "loop 1".to_string()]));
    // Several at once, the last of which is the last of all.
    clients[0].send(&format!("{GET}{GET}GET / HTTP/1.1\r\nConnection: close\r\n\r\n"));
    assert_eq!([(); 3].map(|()| clients[0].answer().2), [true, true, false]);
    clients[0].is_closed();
    clients[1].send("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(clients[1].answer().0, "HTTP/1.1 405 Method Not Allowed");
    clients[1].is_closed();
    clients[2].send("what?\r\n\r\n");
    assert_eq!(clients[2].answer().0, "HTTP/1.1 400 Bad Request");
    drop(clients);
    server.program.signal(Signal::INT);
    assert_eq!(
        server.ended(),
        "served 40 connections, 125 requests; 0 were idle for too long, 0 failed, 0 were cut off"
    );
}

#[test]
fn the_bound_is_for_the_connections_of_all_loops() {
    let Some(server) = Server::start(&["--loops", "3", "--connections", "2"]) else { return };
    let (mut one, mut other) = (server.connect(), server.connect());
    one.get("/");
    other.get("/");
    // Whichever loops they come to.
    let mut late: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut late {
        client.send("GET /late HTTP/1.1\r\nConnection: close\r\n\r\n");
        client.stream.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let error = client.stream.fill_buf().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
        client.stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
    }
    drop(one);
    // In any order; each makes room for the next when it leaves.
    thread::scope(|scope| {
        for mut client in late {
            scope.spawn(move || assert!(client.answer().1.contains("/late")));
        }
    });
    other.get("/");
    drop(other);
    server.program.signal(Signal::TERM);
    assert!(server.ended().starts_with("served 10 connections, 11 requests; "));
}

#[test]
fn who_is_idle_for_too_long_is_sent_away() {
    let Some(server) = Server::start(&["--loops", "1", "--idle", "1500"]) else { return };
    let mut asked = server.connect();
    asked.get("/");
    let (mut silent, mut slow) = (server.connect(), server.connect());
    slow.send("GET / HT");
    silent.is_closed();
    slow.is_closed();
    asked.is_closed();
    server.program.signal(Signal::TERM);
    assert!(server.ended().contains("; 3 were idle for too long, "));
}

/// A connection that was answered and has begun another request, which its loop has in its hands.
fn begun(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(&format!("{GET}GET /begun HTTP/1.1\r\n"));
    assert!(client.answer().2);
    client
}

#[test]
fn stopping_ends_who_is_idle_and_lets_requests_end() {
    let Some(server) = Server::start(&["--loops", "2", "--grace", "1000000"]) else { return };
    let (mut idle, mut begun) = (server.connect(), begun(&server));
    idle.get("/");
    server.program.signal(Signal::TERM);
    server.program.line("stopping");
    idle.is_closed();
    let refused = loop {
        // Both listeners close in their own time.
        match TcpStream::connect(&server.address) {
            Ok(mut taken) => {
                taken.set_read_timeout(Some(PATIENCE)).unwrap();
                // Until its listener is closed, or whoever took it has seen the end.
                let _ = taken.read(&mut [0]);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    begun.send("\r\n");
    let (_, body, goes_on) = begun.answer();
    assert!(body.contains("/begun") && !goes_on);
    drop(begun);
    let served = server.ended();
    assert!(served.ends_with(" 0 were cut off") && served.contains(" 3 requests; "), "{served}");
}

#[test]
fn stopping_is_bounded() {
    let Some(server) = Server::start(&["--loops", "2", "--grace", "300"]) else { return };
    let mut stuck = begun(&server);
    server.program.signal(Signal::TERM);
    stuck.is_closed();
    let served = server.ended();
    assert!(served.ends_with(" 1 were cut off") && served.contains(" 1 requests; "), "{served}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let Some(server) = Server::start(&["--loops", "2", "--grace", "1000000"]) else { return };
    let _stuck = begun(&server);
    server.program.signal(Signal::INT);
    server.program.line("stopping");
    server.program.signal(Signal::INT);
    assert!(!server.program.wait().success());
}

#[test]
fn an_address_that_others_have_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let Some(mut command) = example("many_loops") else { return };
    command.arg(taken.local_addr().unwrap().to_string());
    let output = run(command, Vec::new());
    assert!(!output.status.success());
    assert!(text(&output.stderr).starts_with("many_loops: "), "{}", text(&output.stderr));
}
