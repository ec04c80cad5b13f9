//! The real binary, as a process of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use super::app::MODEL;
use super::eventually;
use super::upstream::KEY;

/// A server that runs apart; killed with its test.
pub struct Process {
    child: Mutex<Child>,
    pub public: String,
    pub admin: String,
    said: Arc<Mutex<Vec<String>>>,
}

/// Returns a command of the binary with the configuration of this folder.
pub fn refrain(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refrain"));
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .env("FAKE_KEY", KEY)
        .env("REFRAIN_MODEL", MODEL)
        .env("RUST_LOG", "refrain=trace")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end, while this test's own server goes on.
pub async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

impl Process {
    /// Starts a server by this command line and waits until it listens.
    pub async fn start_with(folder: &Path, line: &str) -> Self {
        Self::run(refrain(folder, line)).await
    }

    /// Starts a server that trusts whom this file of certificates vouches for, and nobody else.
    pub async fn start_trusting(folder: &Path, roots: &Path) -> Self {
        let mut command = refrain(folder, "serve");
        command.env("SSL_CERT_FILE", roots);
        Self::run(command).await
    }

    /// Runs a command that serves, and waits until it listens.
    pub async fn run(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line))
        });
        let line = eventually("the line that says where it listens", async || {
            assert!(child.try_wait().unwrap().is_none(), "it ended: {:#?}", said.lock().unwrap());
            said.lock().unwrap().iter().find(|line| line.starts_with("listening ")).cloned()
        })
        .await;
        let address = |name: &str| {
            let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            format!("http://{}", found.unwrap())
        };
        Self { public: address("public"), admin: address("admin"), child: Mutex::new(child), said }
    }

    /// Sends a signal, such as `-TERM`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Returns the most memory that it had resident so far, in bytes.
    #[cfg(target_os = "linux")]
    pub fn peak_bytes(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.child.lock().unwrap().id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.unwrap().parse::<u64>().unwrap() << 10
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> ExitStatus {
        eventually("the end of the process", async || self.child.lock().unwrap().try_wait().unwrap()).await
    }

    /// Returns what it said on stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}
