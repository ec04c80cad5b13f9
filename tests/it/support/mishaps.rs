//! What may befall the disk and the clock of the real binary, on command: a small library, preloaded into it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mishaps.c");

/// What can go wrong with the database, until it is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// There is no room for anything more.
    DiskFull,
    /// Nothing can be written.
    DiskBroken,
    /// Nothing can be synced.
    Unsynced,
}

impl Mishap {
    const fn file(self) -> &'static str {
        match self {
            Self::DiskFull => "full",
            Self::DiskBroken => "broken",
            Self::Unsynced => "unsynced",
        }
    }
}

/// The library and the folder by which it is told what to do. Nothing goes wrong until it is told.
pub struct Mishaps(TempDir);

impl Mishaps {
    /// Builds the library.
    pub fn prepare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = Command::new("cc")
            .args(["-std=gnu11", "-shared", "-fPIC", "-O1", "-o"])
            .arg(library(folder.path()))
            .arg(SOURCE)
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self(folder)
    }

    /// Returns the variables of a process that they are to befall.
    pub fn variables(&self) -> [(String, String); 2] {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        [("LD_PRELOAD".into(), text(&library(self.0.path()))), ("MISHAPS".into(), text(self.0.path()))]
    }

    pub fn begin(&self, mishap: Mishap) {
        self.tell(mishap.file(), "");
    }

    pub fn mend(&self, mishap: Mishap) {
        self.untell(mishap.file());
    }

    /// Kills the process half way through a write: that one of those from now on.
    pub fn kill_at_write(&self, write: usize) {
        self.tell("last", &write.to_string());
    }

    /// Lets the next process live.
    pub fn spare(&self) {
        self.untell("last");
    }

    /// Sets the wall clock ahead by so many seconds, or back.
    pub fn shift_clock(&self, seconds: i64) {
        self.tell("clock", &seconds.to_string());
    }

    /// Stops the wall clock at this second since the Unix epoch.
    pub fn stop_clock(&self, at_seconds: u64) {
        self.tell("clock", &format!("={at_seconds}"));
    }

    /// Begins to keep what reaches the disk.
    pub fn watch_disk(&self) {
        std::fs::create_dir(self.0.path().join("synced")).unwrap();
    }

    /// Leaves of the database in this folder what a loss of power would have left: all that was synced, and nothing else.
    pub fn lose_power(&self, data: &Path) {
        for file in files(data).filter(|file| name(file).starts_with("refrain.db")) {
            std::fs::remove_file(file).unwrap();
        }
        for file in files(&self.0.path().join("synced")).filter(|file| !name(file).ends_with(".part")) {
            std::fs::copy(&file, data.join(name(&file))).unwrap();
        }
    }

    /// Says it in one piece: a file is read while it is written.
    fn tell(&self, name: &str, text: &str) {
        let part = self.0.path().join("part");
        std::fs::write(&part, text).unwrap();
        std::fs::rename(part, self.0.path().join(name)).unwrap();
    }

    fn untell(&self, name: &str) {
        std::fs::remove_file(self.0.path().join(name)).unwrap();
    }
}

fn library(folder: &Path) -> PathBuf {
    folder.join("mishaps.so")
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn name(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}
