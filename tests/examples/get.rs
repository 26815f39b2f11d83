//! `get` understands what servers answer: a real one, and one that answers word by word what a test wants.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::thread;

use tempfile::tempdir;

use crate::util::{PATIENCE, example, noise, run, start, text};

fn get(url: &str) -> Option<Output> {
    let mut get = example("get")?;
    get.arg(url);
    Some(run(get, Vec::new()))
}

/// Answers one request with these parts; hangs up after them, or when the client does.
fn answers(parts: &[&[u8]], hangs_up: bool) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/some/path?query#fragment", listener.local_addr().unwrap());
    let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        sender.send(answer(stream, &parts, hangs_up)).unwrap();
    });
    (url, receiver)
}

fn answer(mut stream: TcpStream, parts: &[Vec<u8>], hangs_up: bool) -> String {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut request).unwrap(), 0, "a request without end");
    }
    for part in parts {
        // In pieces, as networks do.
        for piece in part.chunks(part.len().div_ceil(3).max(1)) {
            if stream.write_all(piece).is_err() {
                return request;
            }
            thread::yield_now();
        }
    }
    if !hangs_up {
        let _ = reader.read_to_end(&mut Vec::new());
    }
    request
}

#[test]
fn python_serves_a_file_and_lacks_another() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    if example("get").is_none() {
        return;
    }
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("noise"), noise(3_000_001)).unwrap();
    let mut python = Command::new("python3");
    python.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]).current_dir(folder.path());
    let (_server, line) = start(python);
    // "Serving HTTP on 127.0.0.1 port 12345 (…) ..."
    let port = line.split(' ').skip_while(|word| *word != "port").nth(1).expect(&line);

    let output = get(&format!("http://localhost:{port}/noise")).unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == noise(3_000_001));
    assert!(text(&output.stderr).contains(" 200 "), "{}", text(&output.stderr));

    let output = get(&format!("http://127.0.0.1:{port}/lacking")).unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(" 404 "), "{}", text(&output.stderr));
}

#[test]
fn a_body_of_known_length_ends_there() {
    let body = noise(200_000);
    let (url, request) =
        answers(&[b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 200000\r\n\r\n", &body, b"not the body"], false);
    let Some(output) = get(&url) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == body);
    let request = request.recv_timeout(PATIENCE).unwrap();
    assert!(request.starts_with("GET /some/path?query HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
}

#[test]
fn chunks_are_put_together() {
    let chunk = noise(100_000);
    let (url, _request) = answers(
        &[
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"1;name=value\r\n \r\n186A0\r\n",
            &chunk,
            b"\r\n0\r\n\r\n",
        ],
        false,
    );
    let Some(output) = get(&url) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == [b"hello ", chunk.as_slice()].concat());
}

#[test]
fn a_body_of_unknown_length_goes_to_the_end() {
    let body = noise(200_000);
    let (url, _request) = answers(&[b"HTTP/1.0 201 Created\r\n\r\n", &body], true);
    let Some(output) = get(&url) else { return };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stdout == body);
}

#[test]
fn a_body_that_is_cut_off_is_an_error() {
    let parts: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
    ];
    for part in parts {
        let (url, _request) = answers(&[part], true);
        let Some(output) = get(&url) else { return };
        assert!(!output.status.success(), "{}", text(part));
    }
}

#[test]
fn other_statuses_and_other_answers_fail() {
    let (url, _request) = answers(&[b"HTTP/1.1 500 Sorry\r\nContent-Length: 3\r\n\r\nwhy"], true);
    let Some(output) = get(&url) else { return };
    assert!(!output.status.success());
    assert_eq!(text(&output.stdout), "why");
    assert!(text(&output.stderr).contains("500 Sorry"), "{}", text(&output.stderr));

    let (url, _request) = answers(&[b"SSH-2.0 200 OK\r\n\r\n"], true);
    assert!(!get(&url).unwrap().status.success());
    let output = get("https://localhost/").unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("https://localhost/"), "{}", text(&output.stderr));
}
