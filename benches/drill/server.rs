//! The real binary, with upstreams that fail on command.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::caller::Caller;
use crate::support::eventually;
use crate::support::faults::{FaultServer, Reply, Script};
use crate::support::process::refrain;

/// The model that every route of the drills asks for.
pub const MODEL: &str = "m";
/// How many of a thousand requests an upstream fails that is well.
pub const FAILING: u64 = 150;

/// The largest page of entries.
const PAGE: &str = "/admin/entries?limit=1000";

/// Upstreams, by the names `one`, `two`, ….
pub struct Upstreams(Vec<FaultServer>);

const NAMES: [&str; 4] = ["one", "two", "three", "four"];

impl Upstreams {
    pub async fn start(count: usize) -> Self {
        let mut servers = Vec::new();
        for _ in 0..count {
            let server = FaultServer::start().await;
            server.forget();
            servers.push(server);
        }
        let upstreams = Self(servers);
        (0..count).for_each(|at| upstreams.well(at));
        upstreams
    }

    /// Answers again, but for those that fail by chance.
    pub fn well(&self, at: usize) {
        self.0[at].on(MODEL, Script::to_some(FAILING, Reply::fail(500)));
    }

    /// Fails every request, at once.
    pub fn down(&self, at: usize) {
        self.0[at].on(MODEL, Reply::fail(500));
    }

    pub fn calls(&self) -> usize {
        self.0.iter().map(FaultServer::calls).sum()
    }

    pub fn calls_of(&self, at: usize) -> usize {
        self.0[at].calls()
    }

    pub fn base_url(&self, at: usize) -> &str {
        self.0[at].base_url()
    }

    /// Returns the configuration of a server that asks them in order; `settings` stand above it.
    pub fn configuration(&self, settings: &str) -> String {
        let names = &NAMES[..self.0.len()];
        let chain: Vec<_> = names.iter().map(|name| format!("\"{name}/{MODEL}\"")).collect();
        let mut text =
            format!("{settings}\n[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n");
        for (name, server) in names.iter().zip(&self.0) {
            text += &format!(
                "[[providers]]\nname = \"{name}\"\nkind = \"openai_compatible\"\nbase_url = \"{}\"\n",
                server.base_url()
            );
        }
        text + &format!("[[routes]]\nmodel = \"default\"\nchain = [{}]\n", chain.join(", "))
    }
}

/// A running server; killed when it is dropped.
pub struct Server {
    child: Child,
    pub public: String,
    pub admin: String,
}

impl Server {
    /// Starts it in a folder whose `refrain.toml` is there.
    pub async fn start(folder: &Path) -> Self {
        let log = folder.join("log");
        let mut child = refrain(folder, "serve")
            .env("RUST_LOG", "refrain=error")
            .stderr(Stdio::from(File::create(&log).unwrap()))
            .spawn()
            .unwrap();
        let line = eventually("the server", async || {
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {said}");
            said.lines().find(|line| line.starts_with("listening ")).map(str::to_owned)
        })
        .await;
        let address = |name: &str| {
            let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            format!("http://{}", found.unwrap())
        };
        Self { child, public: address("public"), admin: address("admin") }
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Returns what the system says of the process: `VmRSS` in kB, `Threads`, ….
    pub fn status(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Asks the admin listener.
    pub async fn admin(&self, caller: &Caller, path: &str) -> Value {
        serde_json::from_str(&caller.get(&format!("{}{path}", self.admin)).await.1).unwrap_or_default()
    }

    /// Returns the keys of all entries in the store, page by page.
    pub async fn keys(&self, caller: &Caller) -> HashSet<String> {
        let (mut keys, mut path) = (HashSet::new(), PAGE.to_owned());
        loop {
            let page = self.admin(caller, &path).await;
            let entries = page["entries"].as_array().into_iter().flatten();
            keys.extend(entries.filter_map(|entry| entry["key"].as_str().map(str::to_owned)));
            let Some(after) = page["next"].as_str() else { return keys };
            path = format!("{PAGE}&after={after}");
        }
    }

    /// Returns what `/health/ai` says of one upstream.
    pub async fn health_of(&self, caller: &Caller, name: &str) -> Value {
        let health = self.admin(caller, "/health/ai").await;
        let upstreams = health["upstreams"].as_array().cloned().unwrap_or_default();
        upstreams.into_iter().find(|upstream| upstream["name"] == name).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a folder with this configuration.
pub fn folder(configuration: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("refrain.toml"), configuration).unwrap();
    folder
}
