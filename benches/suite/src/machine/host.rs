//! What the system says about itself in files. Tests give a folder that looks like another system.

use std::fs;
use std::path::{Path, PathBuf};

pub struct Host {
    root: PathBuf,
}

impl Host {
    pub fn this() -> Host {
        Host::at("/")
    }

    pub fn at(root: impl Into<PathBuf>) -> Host {
        Host { root: root.into() }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Empty if it cannot be read.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default().trim().to_owned()
    }

    /// Names in a folder, in order.
    pub fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The first line `name : value` of a file of such lines.
    pub fn field(&self, path: &str, name: &str) -> Option<String> {
        let text = self.read(path);
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_owned())
    }

    /// How many CPUs' worth of time this process may use, where a control group sets a limit.
    pub fn cpu_quota(&self) -> Option<f64> {
        let groups = self.read("/proc/self/cgroup");
        let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let folder = |path: &Path| format!("/sys/fs/cgroup/{}", path.to_string_lossy().trim_start_matches('/'));
        // Any of the groups above may set one.
        let limits = Path::new(own).ancestors().filter_map(|path| {
            let text = self.read(&format!("{}/cpu.max", folder(path)));
            let (quota, period) = text.split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        });
        let old = || {
            let read = |file: &str| self.read(&format!("/sys/fs/cgroup/cpu/{file}")).parse::<f64>().ok();
            Some(read("cpu.cfs_quota_us").filter(|quota| *quota > 0.0)? / read("cpu.cfs_period_us")?)
        };
        limits.min_by(f64::total_cmp).or_else(old)
    }

    /// The kind of container, if this is one.
    pub fn container(&self) -> Option<String> {
        if self.exists("/.dockerenv") {
            return Some("docker".into());
        }
        if self.exists("/run/.containerenv") {
            return Some("podman".into());
        }
        let groups = self.read("/proc/1/cgroup");
        ["kubepods", "docker", "lxc", "containerd"].into_iter().find(|kind| groups.contains(kind)).map(Into::into)
    }
}
