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
    reader: Arc<Mutex<Reader>>,
}

/// Who reads what a process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    Listens,
    /// Does nothing any more; what is said waits.
    Stopped,
    /// Has left; what is said is refused.
    Gone,
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
    pub async fn run(command: Command) -> Self {
        Self::try_spawn(command).await.unwrap_or_else(|said| panic!("it ended: {said}"))
    }

    /// Starts a server by this command and waits until it listens, or ends; then returns what it said.
    pub async fn try_spawn(mut command: Command) -> Result<Self, String> {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reader = Arc::new(Mutex::new(Reader::Listens));
        let (heard, reads) = (Arc::clone(&said), Arc::clone(&reader));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push(line);
                match *reads.lock().unwrap() {
                    Reader::Listens => {}
                    Reader::Stopped => std::thread::park(),
                    Reader::Gone => break,
                }
            }
        });
        let line = eventually("the line that says where it listens", async || {
            if child.try_wait().unwrap().is_some() {
                return Some(Err(said.lock().unwrap().join("\n")));
            }
            said.lock().unwrap().iter().find(|line| line.starts_with("listening ")).cloned().map(Ok)
        })
        .await?;
        let address = |name: &str| {
            let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            format!("http://{}", found.unwrap())
        };
        Ok(Self {
            public: address("public"),
            admin: address("admin"),
            child: Mutex::new(child),
            said,
            reader,
        })
    }

    /// Sends a signal, such as `-TERM`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// Returns what the system tells of it: a file or a folder.
    #[cfg(target_os = "linux")]
    fn told(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.lock().unwrap().id())
    }

    /// Returns the time that it had a processor, in the system's ticks: a hundred are a second.
    #[cfg(target_os = "linux")]
    pub fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(self.told("stat")).unwrap();
        // The name may hold anything; what follows it are numbers, the state being the first.
        let numbers = stat.rsplit_once(')').unwrap().1;
        numbers.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Returns how many files and connections it has open.
    #[cfg(target_os = "linux")]
    pub fn open_files(&self) -> u64 {
        std::fs::read_dir(self.told("fd")).unwrap().count() as u64
    }

    /// Lets it have so many files and connections open, and returns how many it could.
    #[cfg(target_os = "linux")]
    pub fn limit_open_files(&self, most: u64) -> u64 {
        use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
        let limit = Rlimit { current: Some(most), maximum: getrlimit(Resource::Nofile).maximum };
        let id = Pid::from_child(&self.child.lock().unwrap());
        prlimit(Some(id), Resource::Nofile, limit).unwrap().current.unwrap_or(u64::MAX)
    }

    /// Returns the most memory that it had resident so far, in bytes.
    #[cfg(target_os = "linux")]
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(self.told("status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak.unwrap().parse::<u64>().unwrap() << 10
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> ExitStatus {
        eventually("the end of the process", async || self.child.lock().unwrap().try_wait().unwrap()).await
    }

    /// Leaves what it says to such a reader, after its next line.
    pub fn read_by(&self, reader: Reader) {
        *self.reader.lock().unwrap() = reader;
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
