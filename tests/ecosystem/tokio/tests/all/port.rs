//! The steps of the guide's port, each of which does the same.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::util::bytes;

#[path = "../../examples/port_1_tokio.rs"]
mod port_1_tokio;
#[path = "../../examples/port_2_guest.rs"]
mod port_2_guest;
#[path = "../../examples/port_3_tasks.rs"]
mod port_3_tasks;
#[path = "../../examples/port_4_ringtoss.rs"]
mod port_4_ringtoss;

const CLIENTS: usize = 20;
const BYTES: usize = 300_001;

fn answers(run: fn(TcpListener, PathBuf, usize) -> std::io::Result<u64>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), bytes(BYTES, 5)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let path = folder.path().to_owned();
    let server = std::thread::spawn(move || run(listener, path, CLIENTS));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                stream.write_all(b"fi").unwrap();
                stream.write_all(b"le\n").unwrap();
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                assert!(received == bytes(BYTES, 5));
            });
        }
    });
    assert_eq!(server.join().unwrap().unwrap(), (CLIENTS * BYTES) as u64);
}

#[test]
fn as_it_was() {
    answers(port_1_tokio::run);
}

#[test]
fn files_through_a_guest() {
    answers(port_2_guest::run);
}

#[test]
fn connections_on_the_guest() {
    answers(port_3_tasks::run);
}

#[test]
fn on_its_own() {
    answers(port_4_ringtoss::run);
}
