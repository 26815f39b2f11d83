//! The porting guide's tables: no name of tokio's is left out, and versions and tests are those that there are.

use std::path::{Path, PathBuf};

/// What tokio 1.54 has beside items of `fs`, `net`, `process` and `signal`, for which there is `docs/coverage.md`. The
/// guards and errors of what is used as it is are left out.
const NAMES: &str = "
    main test join try_join pin select task_local fs net process signal
    AsyncBufRead AsyncBufReadExt AsyncRead AsyncReadExt AsyncSeek AsyncSeekExt AsyncWrite AsyncWriteExt BufReader BufStream
    BufWriter Chain DuplexStream Empty Interest Join Lines ReadBuf ReadHalf Ready Repeat SimplexStream Sink Stderr Stdin
    Stdout Take WriteHalf copy copy_bidirectional copy_bidirectional_with_sizes copy_buf duplex empty join repeat simplex
    sink split stderr stdin stdout AsyncFd AsyncFdReadyGuard AsyncFdReadyMutGuard AsyncFdRegisterError
    Builder EnterGuard Handle LocalOptions LocalRuntime Runtime RuntimeFlavor RuntimeMetrics TryCurrentError
    Barrier Mutex Notify OnceCell RwLock Semaphore SetOnce mpsc watch broadcast oneshot
    AbortHandle Id JoinError JoinHandle JoinSet LocalEnterGuard LocalKey LocalSet block_in_place id spawn spawn_blocking
    spawn_local try_id yield_now consume_budget coop unconstrained
    Instant Interval MissedTickBehavior Sleep Timeout interval interval_at sleep sleep_until timeout timeout_at pause resume
    advance";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The rows of the table that begins with this column, by cells.
fn table(first: &str) -> Vec<Vec<String>> {
    let guide = std::fs::read_to_string(root().join("docs/porting.md")).unwrap();
    let rows = guide.lines().skip_while(|line| !line.starts_with(&format!("| {first} |"))).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = |row: &str| {
        let row = row.replace("\\|", "");
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
    };
    rows.map(cells).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| !(sign.is_alphanumeric() || sign == '_')).filter(|word| !word.is_empty())
}

#[test]
fn no_name_of_tokios_is_left_out() {
    let rows = table("tokio");
    let said: Vec<&str> = rows.iter().flat_map(|row| words(&row[0]).chain(words(&row[2]))).collect();
    let missing: Vec<&str> = words(NAMES).filter(|name| !said.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_crates_have_the_versions_and_tests_that_are_said() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/all");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let beside_tokio = Path::new(env!("CARGO_MANIFEST_DIR")).join("tokio/tests/all");
    let rows = table("crate");
    assert!(rows.len() > 15, "the table was found");
    for row in rows {
        let [names, versions, works, how, proof] = &row[..] else { panic!("{row:?}") };
        let numbers = |text: &str| -> Vec<String> {
            let parts = text.split([' ', ',']).filter(|part| part.starts_with(|sign: char| sign.is_ascii_digit()));
            parts.map(str::to_string).collect()
        };
        for number in numbers(versions) {
            let locked = names.split([' ', ',', '(', ')']).filter(|name| !name.is_empty()).any(|name| {
                // Whole numbers: 0.7.2 is not 0.7.20.
                [".", "\""].iter().any(|end| lock.contains(&format!("name = \"{name}\"\nversion = \"{number}{end}")))
            });
            assert!(locked, "{names}: {number} is not in Cargo.lock");
        }
        assert!(!numbers(versions).is_empty(), "{names}: which version?");
        let kind = words(works).next().unwrap_or_default();
        assert!(["unchanged", "feature", "example", "context"].contains(&kind), "{names}: works how? {works}");
        for cell in [works, how, proof] {
            for file in cell.split('`').filter(|code| code.ends_with(".rs")) {
                let places = [&tests, &examples, &beside_tokio];
                assert!(places.iter().any(|place| place.join(file).exists()), "{names}: there is no {file}");
            }
        }
        assert!(proof.contains(".rs") || proof.contains("the same") || proof.contains("the crate's tests"), "{names}");
    }
}
