//! `echo` sends back what it is sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use crate::util::{PATIENCE, Running, example, noise, run, start, text};

fn server() -> Option<(Running, String)> {
    let mut echo = example("echo")?;
    echo.arg("127.0.0.1:0");
    let (running, line) = start(echo);
    let address = line.trim_end().strip_prefix("listening on ").expect(&line).to_string();
    Some((running, address))
}

fn client(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn everything_comes_back_in_order() {
    let Some((_server, address)) = server() else { return };
    let mut stream = client(&address);
    let sent = noise(3_000_001);
    let received = thread::scope(|scope| {
        let mut writing = stream.try_clone().unwrap();
        scope.spawn(move || {
            writing.write_all(&noise(3_000_001)).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    });
    assert!(received == sent);
}

#[test]
fn connections_do_not_wait_for_each_other() {
    let Some((_server, address)) = server() else { return };
    let mut streams: Vec<_> = (0..20).map(|_| client(&address)).collect();
    for round in 0..3 {
        // The last one first: those before it are idle meanwhile.
        for (number, stream) in streams.iter_mut().enumerate().rev() {
            let message = format!("{number} in round {round}");
            stream.write_all(message.as_bytes()).unwrap();
            let mut echo = vec![0; message.len()];
            stream.read_exact(&mut echo).unwrap();
            assert_eq!(text(&echo), message);
        }
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let Some(mut echo) = example("echo") else { return };
    echo.arg(&address);
    let output = run(echo, Vec::new());
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
}
