//! A real Qdrant server for one test: its own ports, its own storage, gone with the test.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::eventually;

/// A server that can be stopped, frozen and started again on the same ports and storage.
pub struct QdrantServer {
    folder: TempDir,
    grpc_port: u16,
    http_port: u16,
    child: Option<Child>,
}

impl QdrantServer {
    /// Chooses ports and storage for a server that does not run yet.
    pub fn prepare() -> Self {
        let binary = binary();
        assert!(binary.is_file(), "{} is missing: run `make models`, which fetches it", binary.display());
        let [grpc_port, http_port] = free_ports();
        Self { folder: tempfile::tempdir().unwrap(), grpc_port, http_port, child: None }
    }

    /// Starts a server and waits until it answers.
    pub async fn start() -> Self {
        let mut server = Self::prepare();
        server.resume_life().await;
        server
    }

    /// The gRPC address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    /// Starts the process, on what an earlier one left, and waits until it answers.
    pub async fn resume_life(&mut self) {
        self.kill();
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let child = Command::new(binary())
            .arg("--disable-telemetry")
            .current_dir(self.folder.path())
            .env("QDRANT__SERVICE__HOST", "127.0.0.1")
            .env("QDRANT__SERVICE__GRPC_PORT", self.grpc_port.to_string())
            .env("QDRANT__SERVICE__HTTP_PORT", self.http_port.to_string())
            .env("QDRANT__STORAGE__STORAGE_PATH", self.folder.path().join("storage"))
            .env("QDRANT__STORAGE__SNAPSHOTS_PATH", self.folder.path().join("snapshots"))
            .env("QDRANT__STORAGE__WAL__WAL_CAPACITY_MB", "1")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually("the Qdrant server's port", async || {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
                panic!("the Qdrant server ended with {status}:\n{log}");
            }
            let grpc = TcpStream::connect((Ipv4Addr::LOCALHOST, self.grpc_port)).await;
            let http = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http_port)).await;
            grpc.and(http).ok()
        })
        .await;
    }

    /// Kills the process; its storage stays.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Throws its storage away; only while no process runs.
    pub fn lose_everything(&self) {
        assert!(self.child.is_none());
        std::fs::remove_dir_all(self.folder.path().join("storage")).unwrap();
    }

    /// Freezes the process: its sockets stay open and nobody answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Ends a freeze.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("the server runs").id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
}

impl Drop for QdrantServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn binary() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.tools/qdrant")
}

/// Ports that were free a moment ago. Both are held until both are known, so they differ.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
