//! async-compression and async_zip over files, against gzip and Python's zipfile.

use std::path::{Path, PathBuf};
use std::process::Command;

use ringtoss_ecosystem::{noise, output_of, program, run};

// The example is what is tested.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/archive.rs"]
mod archive_example;

use archive_example::{gunzip, gzip, unzip, zip};

/// What can be made smaller, of more than one buffer's length, and what cannot.
fn contents() -> [Vec<u8>; 4] {
    let lines: String = (0..60_000).map(|number| format!("line {number} of many\n")).collect();
    [Vec::new(), b"x".to_vec(), lines.into_bytes(), noise(700_000)]
}

#[test]
fn gzip_and_back_by_both_families() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for content in contents() {
            std::fs::write(path("plain"), &content).unwrap();
            let written = gzip(&path("plain"), &path("plain.gz")).await.unwrap();
            assert_eq!(std::fs::metadata(path("plain.gz")).unwrap().len(), written);
            assert_eq!(gunzip(&path("plain.gz"), &path("back")).await.unwrap(), content.len() as u64);
            assert!(std::fs::read(path("back")).unwrap() == content);
        }
        // One that was cut off is an error.
        let whole = std::fs::read(path("plain.gz")).unwrap();
        std::fs::write(path("cut.gz"), &whole[..whole.len() - 9]).unwrap();
        let error = gunzip(&path("cut.gz"), &path("back")).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    });
}

#[test]
fn gzip_itself_understands_it_and_is_understood() {
    let Some(program) = program("gzip") else { return };
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for content in contents() {
            std::fs::write(path("plain"), &content).unwrap();
            gzip(&path("plain"), &path("plain.gz")).await.unwrap();
            let mut back = Command::new(&program);
            back.args(["--decompress", "--stdout"]).arg(path("plain.gz"));
            assert!(output_of(back).await.stdout == content);

            let mut there = Command::new(&program);
            there.args(["--stdout"]).arg(path("plain"));
            let made = output_of(there).await.stdout;
            // One behind the other are one.
            std::fs::write(path("theirs.gz"), [&made[..], &made[..]].concat()).unwrap();
            gunzip(&path("theirs.gz"), &path("back")).await.unwrap();
            assert!(std::fs::read(path("back")).unwrap() == [&content[..], &content[..]].concat());
        }
    });
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let write = |(number, content): (usize, Vec<u8>)| {
        let path = folder.join(format!("file {number}"));
        std::fs::write(&path, content).unwrap();
        path
    };
    contents().into_iter().enumerate().map(write).collect()
}

fn check(folder: &Path) {
    for (number, content) in contents().into_iter().enumerate() {
        assert!(std::fs::read(folder.join(format!("file {number}"))).unwrap() == content, "file {number}");
    }
}

#[test]
fn zip_and_back() {
    run(async {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let archive = from.path().join("archive.zip");
        zip(&archive, &files(from.path())).await.unwrap();
        assert_eq!(unzip(&archive, to.path()).await.unwrap(), 4);
        check(to.path());
    });
}

#[test]
fn pythons_zipfile_understands_it_and_is_understood() {
    let Some(python) = program("python3") else { return };
    run(async {
        let (from, to, again) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let archive = from.path().join("archive.zip");
        zip(&archive, &files(from.path())).await.unwrap();
        let mut unpack = Command::new(&python);
        unpack.args(["-m", "zipfile", "-e"]).args([&archive, &to.path().to_path_buf()]);
        output_of(unpack).await;
        check(to.path());

        let theirs = from.path().join("theirs.zip");
        let mut pack = Command::new(&python);
        pack.args(["-m", "zipfile", "-c"]).arg(&theirs).args(files(from.path()));
        output_of(pack).await;
        assert_eq!(unzip(&theirs, again.path()).await.unwrap(), 4);
        check(again.path());
    });
}

#[test]
fn an_archive_writes_nowhere_else() {
    let Some(python) = program("python3") else { return };
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let archive = folder.path().join("bad.zip");
        let mut pack = Command::new(&python);
        let script = "import sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w').writestr('../out', 'bad')";
        pack.args(["-c", script]).arg(&archive);
        output_of(pack).await;
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        assert!(unzip(&archive, &inside).await.unwrap_err().to_string().contains("out of the folder"));
        assert!(!folder.path().join("out").exists());
    });
}
