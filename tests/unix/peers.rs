//! Programs at the other end.

use std::process::{Command, Stdio};

use ringtoss::net::{UnixListener, UnixStream};

use crate::util::*;

fn has(command: &str, argument: &str) -> bool {
    let found = Command::new(command).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("{command} is not installed: not tested with it");
    }
    found
}

#[test]
fn curl_gets_a_page_over_a_unix_socket() {
    if !has("curl", "--version") {
        return;
    }
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http");
        let listener = UnixListener::bind(&path).await.unwrap();
        let server = ringtoss::spawn(async move {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::with_capacity(4096);
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    let (result, buf) = stream.read_append(request).await;
                    assert_ne!(result.unwrap(), 0);
                    request = buf;
                }
                assert!(request.starts_with(b"GET /page HTTP/1.1\r\n"));
                let page = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
                stream.write_all(page).await.0.unwrap();
            }
        });
        for _ in 0..3 {
            let path = path.clone();
            let output = ringtoss::spawn_blocking(move || {
                Command::new("curl")
                    .args(["--silent", "--max-time", "50", "--unix-socket"])
                    .arg(path)
                    .arg("http://localhost/page")
                    .output()
            });
            let output = output.await.unwrap().unwrap();
            assert_eq!((output.status.success(), &output.stdout[..]), (true, &b"hello"[..]));
        }
        server.await.unwrap();
    });
}

#[test]
fn redis_answers_over_a_unix_socket() {
    if !has("redis-server", "--version") {
        return;
    }
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redis");
        let mut server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&path)
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until(|| std::os::unix::net::UnixStream::connect(&path).is_ok()).await;
        let mut stream = UnixStream::connect(&path).await.unwrap();
        assert_eq!(stream.peer_cred().unwrap().pid(), Some(server.id() as i32));
        for round in 0..100 {
            let value = "v".repeat(round * 100);
            let length = value.len();
            let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n{value}\r\n");
            stream.write_all(set).await.0.unwrap();
            stream.write_all("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").await.0.unwrap();
            let answer = format!("+OK\r\n${length}\r\n{value}\r\n");
            // A read that is dropped first, each time at another moment.
            let mut read = stream.read(Vec::with_capacity(3));
            let _ = poll_once(&mut read).await;
            for _ in 0..round % 4 {
                turn().await;
            }
            drop(read);
            let (result, buf) = stream.read_exact(Vec::with_capacity(answer.len()), answer.len()).await;
            result.unwrap();
            assert_eq!(String::from_utf8(buf).unwrap(), answer);
        }
        server.kill().unwrap();
        server.wait().unwrap();
    });
}
