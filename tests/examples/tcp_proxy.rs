//! `tcp_proxy` passes everything on, both ways.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::util::{PATIENCE, Running, bounded, example, noise, run, start, text};

/// A proxy before a listener: its address.
fn proxy(upstream: &str, way: Option<&str>) -> Option<(Running, String)> {
    let mut proxy = example("tcp_proxy")?;
    proxy.args(["127.0.0.1:0", upstream]).args(way);
    let (running, line) = start(proxy);
    let address = line.trim_end().strip_prefix("listening on ").expect(&line).to_string();
    Some((running, address))
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn connect(listener: &TcpListener, proxy: &str) -> (TcpStream, TcpStream) {
    let client = patient(TcpStream::connect(proxy).unwrap());
    let listener = listener.try_clone().unwrap();
    let (server, _) = bounded("the proxy connects", move || listener.accept().unwrap());
    (client, patient(server))
}

fn everything_comes_through(way: Option<&str>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some((_proxy, address)) = proxy(&listener.local_addr().unwrap().to_string(), way) else { return };
    let (mut client, mut server) = connect(&listener, &address);
    // Both at once, and one is half closed long before the other has ended.
    let len = 4_000_003;
    let writing = thread::spawn({
        let mut client = client.try_clone().unwrap();
        move || {
            client.write_all(&noise(4_000_003)).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
    });
    server.write_all(b"early ").unwrap();
    let mut early = [0; 6];
    client.read_exact(&mut early).unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert!(received == noise(len), "{} bytes", received.len());
    writing.join().unwrap();
    server.write_all(b"and late").unwrap();
    drop(server);
    let mut late = Vec::new();
    client.read_to_end(&mut late).unwrap();
    assert_eq!((&early[..], text(&late)), (&b"early "[..], "and late"));
}

#[test]
fn everything_comes_through_both_ways_and_ends_are_passed_on() {
    everything_comes_through(None);
    everything_comes_through(Some("--copy"));
}

#[test]
fn who_does_not_read_stops_who_sends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some((_proxy, address)) = proxy(&listener.local_addr().unwrap().to_string(), None) else { return };
    let (client, mut server) = connect(&listener, &address);
    // More than buffers of sockets and the proxy's pipe hold; then it is full, and stays so.
    let mut writer = client.try_clone().unwrap();
    writer.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut sent, chunk) = (0, noise(64 * 1024));
    let error = loop {
        match writer.write(&chunk) {
            Ok(count) => sent += count,
            Err(error) => break error,
        }
        assert!(sent < 200_000_000, "it takes everything");
    };
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    // Others are not held up by it.
    let (mut other, mut other_server) = connect(&listener, &address);
    other.write_all(b"me too").unwrap();
    other_server.read_exact(&mut [0; 6]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), sent);
}

#[test]
fn a_connection_that_breaks_is_not_one_that_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let Some((_proxy, address)) = proxy(&listener.local_addr().unwrap().to_string(), None) else { return };
    let (mut client, server) = connect(&listener, &address);
    // Dropped with bytes that were not read, it is reset.
    client.write_all(b"nobody reads this").unwrap();
    server.peek(&mut [0; 1]).unwrap();
    drop(server);
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // Nobody is there.
    drop(listener);
    let mut client = patient(TcpStream::connect(&address).unwrap());
    let error = client.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn it_says_how_it_is_called() {
    let Some(command) = example("tcp_proxy") else { return };
    let output = run(command, Vec::new());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("usage: tcp_proxy"));
}
