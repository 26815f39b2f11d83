//! The report is looked at in a real browser, if there is one: nothing sticks out, nothing lies over each other, everything
//! can be read, in the light, in the dark, on a telephone and on paper. `RINGTOSS_TEST_BROWSER=1` wants one to be there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// For a page of half a megabyte on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(240);

/// What `check.js` saw.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    faults: Vec<String>,
    width: u32,
    charts: usize,
    texts: usize,
    dark: bool,
    least_contrast: f64,
    least_letters: f64,
}

fn browser() -> Option<&'static str> {
    let known = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let there = |name: &&str| {
        let version = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let found = known.into_iter().find(there);
    if found.is_none() {
        assert!(std::env::var_os("RINGTOSS_TEST_BROWSER").is_none(), "no browser is installed (chromium)");
        eprintln!("no browser is installed, so nothing is looked at");
    }
    found
}

/// A folder for a test, removed when it ends well.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("ringtoss-bench-browser-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// The stored result, as the suite shows it.
fn show(options: &[&str]) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/example.json");
    let suite =
        Command::new(env!("CARGO_BIN_EXE_ringtoss-bench")).arg("--show").arg(&example).args(options).output().unwrap();
    assert!(suite.status.success(), "{}", String::from_utf8_lossy(&suite.stderr));
}

/// The report, with eyes.
fn page(folder: &Folder) -> PathBuf {
    let path = folder.file("report.html");
    show(&["--html", path.to_str().unwrap()]);
    let page = fs::read_to_string(&path).unwrap();
    let errors = "<script>window.errors = []; addEventListener('error', (event) => errors.push(`error: ${event.message}`));</script>";
    let check = format!("<script>{}</script></body>", include_str!("check.js"));
    let page = page.replacen("<head>", &format!("<head>{errors}"), 1).replacen("</body>", &check, 1);
    fs::write(&path, page).unwrap();
    path
}

/// In a frame as wide as a telephone: windows are never as narrow.
fn in_frame(folder: &Folder, page: &Path) -> PathBuf {
    let inside = fs::read_to_string(page).unwrap().replace('&', "&amp;").replace('"', "&quot;");
    let frame = "style=\"width: 360px; height: 800px; border: 0\"";
    let path = folder.file("frame.html");
    fs::write(&path, format!("<!doctype html><title>frame</title><iframe {frame} srcdoc=\"{inside}\"></iframe>"))
        .unwrap();
    path
}

fn browse(browser: &str, folder: &Folder, options: &[&str], page: &Path) -> Output {
    let output = |name: &str| folder.file(name);
    let mut child = Command::new(browser)
        // As root, in containers, without a display.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"])
        .args(["--no-first-run", "--disable-extensions", "--disable-background-networking", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", output("profile").display()))
        .args(options)
        .arg(format!("file://{}", page.display()))
        .stdout(fs::File::create(output("stdout")).unwrap())
        .stderr(fs::File::create(output("stderr")).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the browser hangs");
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let read = |name: &str| fs::read(output(name)).unwrap();
    Output { status, stdout: read("stdout"), stderr: read("stderr") }
}

fn look(name: &str, options: &[&str]) -> Option<Seen> {
    let browser = browser()?;
    let folder = Folder::new(name);
    let mut page = page(&folder);
    if name == "telephone" {
        page = in_frame(&folder, &page);
    }
    let output = browse(browser, &folder, &[&["--dump-dom"], options].concat(), &page);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let said: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(said.is_empty(), "{said:?}");
    let dom = String::from_utf8_lossy(&output.stdout);
    let (_, seen) = dom.split_once("data-seen=\"").expect("the page has been looked at");
    let seen: Seen = serde_json::from_str(&decode(seen.split('"').next().unwrap())).unwrap();
    eprintln!("{name}: {seen:?}");
    assert!(
        seen.faults.is_empty(),
        "{} faults at {} pixels:\n{}",
        seen.faults.len(),
        seen.width,
        seen.faults.join("\n")
    );
    assert!(seen.charts > 20 && seen.texts > 1000, "{seen:?}");
    assert!(seen.least_contrast >= 4.5 && seen.least_letters >= 10.0, "{seen:?}");
    Some(seen)
}

/// %20 and the like.
fn decode(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let hex = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn in_the_light() {
    if let Some(seen) = look("light", &["--window-size=1200,900", "--blink-settings=preferredColorScheme=1"]) {
        assert!(!seen.dark && seen.width >= 1000, "{seen:?}");
    }
}

#[test]
fn in_the_dark() {
    if let Some(seen) = look("dark", &["--window-size=1200,900", "--blink-settings=preferredColorScheme=0"]) {
        assert!(seen.dark, "{seen:?}");
    }
}

#[test]
fn on_a_telephone() {
    if let Some(seen) = look("telephone", &["--window-size=600,900", "--blink-settings=preferredColorScheme=0"]) {
        assert!(seen.width == 360 && seen.dark, "{seen:?}");
    }
}

/// Both come from one start of the browser each: a picture that is not blank, and a document that has pages.
#[test]
fn as_a_picture_and_on_paper() {
    let Some(browser) = browser() else { return };
    let folder = Folder::new("paper");
    let blank = folder.file("blank.html");
    fs::write(&blank, "<!doctype html><title>blank</title>").unwrap();
    let svg = folder.file("svg");
    show(&["--svg", svg.to_str().unwrap()]);
    let picture = |name: &str, page: &Path| {
        let file = folder.file(name);
        let option = format!("--screenshot={}", file.display());
        browse(browser, &folder, &["--window-size=1000,1000", &option], page);
        fs::metadata(&file).map_or(0, |file| file.len())
    };
    let (empty, drawn) = (picture("blank.png", &blank), picture("drawn.png", &page(&folder)));
    assert!(empty > 0 && drawn > empty * 5, "{drawn} bytes of picture, a blank one has {empty}");
    let chart = picture("chart.png", &svg.join("row-echo-50x64.svg"));
    assert!(chart > empty * 3, "{chart} bytes of picture, a blank one has {empty}");
    let paper = folder.file("report.pdf");
    browse(browser, &folder, &[&format!("--print-to-pdf={}", paper.display())], &folder.file("report.html"));
    let pdf = fs::read(&paper).unwrap();
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 100_000, "{} bytes", pdf.len());
}
