//! A loop inside an epoll loop of one's own: `guest_epoll FILE [ADDRESS [CONNECTIONS]]` accepts connections as the program always
//! did, by epoll and `accept(2)`, and has the guest answer each with the file, read through the ring.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use ringtoss::buf::BufResultExt;
use ringtoss::compat::Guest;
use ringtoss::fs::File;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

const LISTENER: u64 = 0;
const GUEST: u64 = 1;
/// So many polls of the guest's tasks before the host looks after its own affairs again.
const BUDGET: usize = 128;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: guest_epoll FILE [ADDRESS [CONNECTIONS]]");
        return ExitCode::FAILURE;
    };
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".to_string());
    let connections = arguments.next().map_or(usize::MAX, |count| count.parse().expect("a number of connections"));
    let Err(error) = serve(Path::new(&path), &address, connections) else { return ExitCode::SUCCESS };
    eprintln!("guest_epoll: {error}");
    ExitCode::FAILURE
}

/// The host's loop.
fn serve(path: &Path, address: &str, connections: usize) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    println!("listening on {}", listener.local_addr()?);

    let guest = Guest::new()?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // Level-triggered: a turn clears it, and it stays readable while there is more to do.
    epoll::add(&epoll, &guest, EventData::new_u64(GUEST), EventFlags::IN)?;

    let path = Rc::new(path.to_owned());
    let (mut accepted, mut answers) = (0, Vec::new());
    let mut events = Vec::with_capacity(16);
    while accepted < connections || !answers.is_empty() {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            waited => waited?,
        };
        for &Event { data, .. } in &events {
            match data.u64() {
                GUEST => {
                    guest.turn(BUDGET);
                }
                _ => match listener.accept() {
                    Ok((stream, _)) => {
                        accepted += 1;
                        answers.push(guest.spawn(answer(stream, path.clone())));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                },
            }
        }
        answers.retain(|answer| !answer.is_finished());
    }
    Ok(())
}

/// A task of the guest's.
async fn answer(stream: TcpStream, path: Rc<PathBuf>) {
    if let Err(error) = send(stream, &path).await {
        eprintln!("guest_epoll: {error}");
    }
}

async fn send(stream: TcpStream, path: &Path) -> io::Result<()> {
    let mut stream = ringtoss::net::TcpStream::from_std(stream);
    let file = File::open(path).await?;
    let mut buf = Vec::with_capacity(64 * 1024);
    let mut offset = 0;
    loop {
        let (count, read) = file.read_at(buf, offset).await.into_result()?;
        if count == 0 {
            return Ok(());
        }
        offset += count as u64;
        buf = stream.write_all(read).await.into_result()?.1;
    }
}
