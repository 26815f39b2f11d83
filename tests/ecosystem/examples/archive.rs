//! Compressing files and packing archives with the libraries of others, over `fs::File`:
//!
//! `cargo run -p ringtoss-ecosystem --example archive -- gzip FILE`, `gunzip FILE.gz`, `zip ARCHIVE FILE…`,
//! `unzip ARCHIVE FOLDER`.

use std::io;
use std::path::{Component, Path, PathBuf};

use async_compression::futures::bufread::GzipDecoder;
use async_compression::tokio::bufread::GzipEncoder;
use async_zip::base::read1::ZipOptions;
use async_zip::base::read1::seek::ZipArchiveReader;
use async_zip::base::write::ZipFileWriter;
use async_zip::{Compression, ZipEntryBuilder};
use ringtoss::compat::PollIo;
use ringtoss::fs::{self, File};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// By tokio's traits. The file is read ahead by `PollIo`, so nothing is wrapped around it.
pub async fn gzip(from: &Path, to: &Path) -> io::Result<u64> {
    let mut reader = GzipEncoder::new(PollIo::new(File::open(from).await?));
    let mut writer = PollIo::new(File::create(to).await?);
    let bytes = tokio::io::copy(&mut reader, &mut writer).await?;
    // Until this is done, an error of the last write is not known.
    tokio::io::AsyncWriteExt::flush(&mut writer).await?;
    writer.get_ref().sync_all().await?;
    Ok(bytes)
}

/// By futures' traits.
pub async fn gunzip(from: &Path, to: &Path) -> io::Result<u64> {
    let mut reader = GzipDecoder::new(PollIo::new(File::open(from).await?));
    // Files that were put one behind the other are one.
    reader.multiple_members(true);
    let mut writer = PollIo::new(File::create(to).await?);
    let bytes = futures::io::copy(reader, &mut writer).await?;
    futures::AsyncWriteExt::flush(&mut writer).await?;
    writer.get_ref().sync_all().await?;
    Ok(bytes)
}

/// An archive of files, under the last parts of their names.
pub async fn zip(archive: &Path, files: &[PathBuf]) -> Result {
    let mut zip = ZipFileWriter::new(PollIo::new(File::create(archive).await?));
    for path in files {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("a file without a name")?;
        let entry = ZipEntryBuilder::new(name.into(), Compression::Deflate);
        let mut writer = zip.write_entry_stream(entry).await?;
        futures::io::copy(PollIo::new(File::open(path).await?), &mut writer).await?;
        writer.close().await?;
    }
    let mut file = zip.close().await?;
    futures::AsyncWriteExt::flush(&mut file).await?;
    file.into_inner().sync_all().await?;
    Ok(())
}

/// Unpacks the files of an archive into a folder, and gives how many they were.
pub async fn unzip(archive: &Path, folder: &Path) -> Result<usize> {
    let file = PollIo::new(File::open(archive).await?);
    let mut zip = ZipArchiveReader::open_with_options(file, ZipOptions::untrusted()).await?;
    let names = zip.cdrs().iter().map(|entry| entry.insecure_file_name.as_str().map(str::to_string));
    let names = names.collect::<Option<Vec<String>>>().ok_or("a name that is not UTF-8")?;
    for (index, name) in names.iter().enumerate() {
        // An archive from elsewhere must not write elsewhere.
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{name}: it leads out of the folder").into());
        }
        let path = folder.join(name);
        if name.ends_with('/') {
            fs::create_dir_all(&path).await?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).await?;
        }
        let mut writer = PollIo::new(File::create(&path).await?);
        futures::io::copy(zip.file(index).await?, &mut writer).await?;
        futures::AsyncWriteExt::close(&mut writer).await?;
    }
    Ok(names.len())
}

fn main() -> Result {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let usage = "gzip FILE, gunzip FILE.gz, zip ARCHIVE FILE…, or unzip ARCHIVE FOLDER";
    let [what, path, rest @ ..] = &arguments[..] else { return Err(usage.into()) };
    ringtoss::block_on(async {
        match (what.to_str(), rest) {
            (Some("gzip"), []) => {
                let mut to = path.clone().into_os_string();
                to.push(".gz");
                println!("{} bytes", gzip(path, to.as_ref()).await?);
            }
            (Some("gunzip"), []) => println!("{} bytes", gunzip(path, &path.with_extension("")).await?),
            (Some("zip"), files) => zip(path, files).await?,
            (Some("unzip"), [folder]) => println!("{} files", unzip(path, folder).await?),
            _ => return Err(usage.into()),
        }
        Ok(())
    })
}
