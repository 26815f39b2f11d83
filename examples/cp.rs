//! Copies a file, with several reads in flight: `cp SOURCE DESTINATION`, where `-` is standard input or output.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::rc::Rc;

use ringtoss::buf::BufResultExt;
use ringtoss::fs::{self, File};

const CHUNK: usize = 256 * 1024;
const READS_IN_FLIGHT: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, destination] = arguments.as_slice() else {
        eprintln!("usage: cp SOURCE DESTINATION   (- is standard input or output)");
        return ExitCode::from(2);
    };
    let Err(error) = ringtoss::block_on(copy(source, destination)) else { return ExitCode::SUCCESS };
    eprintln!("cp: {source} to {destination}: {error}");
    ExitCode::FAILURE
}

async fn copy(source: &str, destination: &str) -> io::Result<()> {
    let from =
        if source == "-" { File::from(io::stdin().as_fd().try_clone_to_owned()?) } else { File::open(source).await? };
    let metadata = from.metadata().await?;
    let mut to = match destination {
        "-" => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        path => {
            if fs::metadata(path).await.is_ok_and(|old| (old.dev(), old.ino()) == (metadata.dev(), metadata.ino())) {
                return Err(io::Error::other("they are the same file"));
            }
            File::create(path).await?
        }
    };
    if metadata.is_file() && source != "-" {
        copy_ahead(from, &mut to).await?
    } else {
        copy_plain(from, &mut to).await?
    }
    to.close().await
}

/// One read after the other: a pipe has no offsets.
async fn copy_plain(mut from: File, to: &mut File) -> io::Result<()> {
    let mut buf = Vec::with_capacity(CHUNK);
    loop {
        match from.read(buf).await.into_result()? {
            (0, _) => return Ok(()),
            (_, read) => buf = to.write_all(read).await.into_result()?.1,
        }
    }
}

/// Reads ahead, and writes what has been read in order.
async fn copy_ahead(from: File, to: &mut File) -> io::Result<()> {
    let (from, mut reads) = (Rc::new(from), VecDeque::new());
    let (mut ahead, mut spare) = (0, Vec::new());
    loop {
        while reads.len() < READS_IN_FLIGHT {
            let (from, offset, buf) = (from.clone(), ahead, spare.pop().unwrap_or_else(|| Vec::with_capacity(CHUNK)));
            reads.push_back(ringtoss::spawn(async move { from.read_at(buf, offset).await }));
            ahead += CHUNK as u64;
        }
        let (count, buf) = reads.pop_front().expect("just filled").await?.into_result()?;
        if count == 0 {
            return Ok(());
        }
        if count < CHUNK {
            // If this is not the end, the other reads are in the wrong place.
            ahead -= ((reads.len() + 1) * CHUNK - count) as u64;
            reads.clear();
        }
        spare.push(to.write_all(buf).await.into_result()?.1);
    }
}
