//! Programs that know nothing of us, at the other end. Where one is not installed, its test says so.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use ringtoss::net::{TcpListener, TcpStream};

use crate::util::*;

fn there_is(program: &str) -> bool {
    let _starting = starting_a_child();
    let there = Command::new(program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !there {
        eprintln!("{program} is not installed: left out");
    }
    there
}

/// Runs a command to its end, beside the loop.
async fn output(mut command: Command, input: Vec<u8>) -> Output {
    let run = move || {
        let starting = starting_a_child();
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(starting);
        let mut stdin = child.stdin.take().unwrap();
        let feed = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        output
    };
    ringtoss::spawn_blocking(run).await.unwrap()
}

/// One request after the other, as HTTP/1.1 has it: what was read too much belongs to the next.
async fn serve(mut stream: TcpStream) {
    let mut buf = Vec::with_capacity(16384);
    loop {
        let head = loop {
            if let Some(end) = buf.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(buf[..end].to_vec()).unwrap();
                buf.drain(..end + 4);
                break head;
            }
            buf.reserve(1024);
            let result;
            (result, buf) = stream.read_append(buf).await;
            if result.unwrap() == 0 {
                return;
            }
        };
        let (mut words, mut len) = (head.split(' '), 0);
        let (method, path) = (words.next().unwrap().to_string(), words.next().unwrap().to_string());
        for line in head.lines() {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                len = value.trim().parse().unwrap();
            }
        }
        while buf.len() < len {
            buf.reserve(65536);
            let result;
            (result, buf) = stream.read_append(buf).await;
            assert!(result.unwrap() > 0);
        }
        let sent: Vec<u8> = buf.drain(..len).collect();
        let body = match method.as_str() {
            "POST" => sent,
            _ => pattern(0, path[1..].parse().unwrap()),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        let len = head.len() + body.len();
        let (result, parts) = stream.write_vectored((head, body)).await;
        // The rest of a short write.
        let sent = result.unwrap();
        if sent < len {
            stream.write_all([parts.0.as_bytes(), &parts.1].concat()[sent..].to_vec()).await.0.unwrap();
        }
    }
}

#[test]
fn curl() {
    if !there_is("curl") {
        return;
    }
    run(async {
        let (listener, address) = listener().await;
        let server = ringtoss::spawn(async move {
            for _ in 0..2 {
                let (stream, _) = listener.accept().await.unwrap();
                ringtoss::spawn(serve(stream));
            }
        });
        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "--noproxy", "*", "--max-time", "50"]);
        for len in [10, 0, 3_000_000, 77] {
            command.arg(format!("http://{address}/{len}"));
        }
        let output_ = output(command, Vec::new()).await;
        assert!(output_.status.success(), "{}", String::from_utf8_lossy(&output_.stderr));
        let expected = [pattern(0, 10), pattern(0, 3_000_000), pattern(0, 77)].concat();
        assert!(output_.stdout == expected, "{} bytes", output_.stdout.len());

        let mut command = Command::new("curl");
        command.args(["-sS", "--fail", "--noproxy", "*", "--max-time", "50", "-H", "Expect:", "--data-binary", "@-"]);
        command.arg(format!("http://{address}/"));
        let upload = pattern(5, 2_000_000);
        let output_ = output(command, upload.clone()).await;
        assert!(output_.status.success(), "{}", String::from_utf8_lossy(&output_.stderr));
        assert!(output_.stdout == upload, "{} bytes", output_.stdout.len());
        server.await.unwrap();
    });
}

async fn pump(from: &mut ringtoss::net::OwnedReadHalf, to: &mut ringtoss::net::OwnedWriteHalf) {
    let mut buf = Vec::with_capacity(4096);
    loop {
        let result;
        (result, buf) = from.read(buf).await;
        if !matches!(result, Ok(1..)) {
            break;
        }
        let result;
        (result, buf) = to.write_all(buf).await;
        if result.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

/// Passes one connection on, both ways.
async fn proxy(listener: TcpListener, to: SocketAddr) {
    let (client, _) = listener.accept().await.unwrap();
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut server_reads, mut server_writes) = TcpStream::connect(to).await.unwrap().into_split();
    futures::join!(pump(&mut client_reads, &mut server_writes), pump(&mut server_reads, &mut client_writes));
}

/// TLS notices every byte that is wrong, missing or doubled.
#[test]
fn openssl_through_a_proxy() {
    if !there_is("openssl") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, cert) = (dir.path().join("key.pem"), dir.path().join("cert.pem"));
    let starting = starting_a_child();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=localhost",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .unwrap();
    drop(starting);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    run(async {
        // A port for it, which is free when it starts.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let starting = starting_a_child();
        let mut server = Command::new("openssl")
            .args(["s_server", "-quiet", "-rev", "-accept", &port.to_string()])
            .arg("-key")
            .arg(&key)
            .arg("-cert")
            .arg(&cert)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(starting);
        while TcpStream::connect(port).await.is_err() {
            assert!(server.try_wait().unwrap().is_none(), "openssl s_server has ended");
            ringtoss::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let (listener, address) = listener().await;
        let proxy = ringtoss::spawn(proxy(listener, port));
        let lines: Vec<String> = (0..3000).map(|line| format!("line {line} of many")).collect();
        let mut input = lines.join("\n").into_bytes();
        // By this word the server ends the connection.
        input.extend_from_slice(b"\nCLOSE\n");
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-nocommands", "-connect", &address.to_string()]);
        let output = output(client, input).await;
        proxy.await.unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        let reversed: Vec<String> = lines.iter().map(|line| line.chars().rev().collect()).collect();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.lines().eq(&reversed),
            "{} lines; {}",
            text.lines().count(),
            String::from_utf8_lossy(&output.stderr)
        );
    });
}
