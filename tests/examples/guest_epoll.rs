//! `guest_epoll` answers every connection with a file.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use crate::util::{PATIENCE, example, noise, start};

#[test]
fn each_connection_gets_the_file() {
    let Some(mut host) = example("guest_epoll") else { return };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&noise(300_001)).unwrap();
    host.arg(file.path()).args(["127.0.0.1:0", "24"]);
    let (host, line) = start(host);
    let address = line.trim_end().strip_prefix("listening on ").expect(&line);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let mut stream = TcpStream::connect(address).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).unwrap();
                    assert!(received == noise(300_001));
                }
            });
        }
    });
    // It ends when it has answered so many.
    assert!(host.wait().success());
}
