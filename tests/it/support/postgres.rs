//! A PostgreSQL server of our own: one for the whole run, a fresh database for each test.
//!
//! `initdb` refuses to run as root, so under root the server runs as `postgres`, else as `nobody`.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

const MISSING: &str = "no PostgreSQL server was found (initdb, postgres): `make test` says how to install it";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the URL of a new, empty database.
pub async fn fresh_database() -> String {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    static DATABASES: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(Server::start).await;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection =
        PgConnection::connect(&server.url("postgres")).await.expect("the server was up before");
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a superuser may");
    server.url(&name)
}

/// A server in a folder of its own.
struct Server {
    port: u16,
    /// Holds the pipe that keeps the server running.
    _shell: Child,
}

impl Server {
    async fn start() -> Self {
        let binaries = binaries().expect(MISSING);
        // Kept here and removed by the shell below: a static is never dropped.
        let folder = tempfile::Builder::new()
            .prefix("refrain-postgres-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        let account = account_for_server();
        if let Some((uid, gid)) = account {
            chown(&folder, Some(uid), Some(gid)).expect("root may");
        }
        let unprivileged = |program: &Path| {
            let mut command = Command::new(program);
            // A working folder that anybody may enter: initdb goes back to it.
            command.current_dir("/");
            if let Some((uid, gid)) = account {
                command.uid(uid).gid(gid);
            }
            command
        };
        let data = folder.join("data");
        run(unprivileged(&binaries.join("initdb"))
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data));
        // Between this and the server's own binding somebody else may take the port; then the start fails aloud.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
        // The shell's input is a pipe that only this process holds open. When this process ends, however it does,
        // `read` returns, and the shell stops the server and removes its folder.
        let script = r#""$1" -D "$2" -p "$3" -k '' -h 127.0.0.1 -F -c full_page_writes=off -c max_connections=200 &
            server=$!; read -r _; kill -QUIT $server; wait $server; rm -rf "$4""#;
        let shell = unprivileged(Path::new("/bin/sh"))
            .args(["-c", script, "sh"])
            .arg(binaries.join("postgres"))
            .arg(&data)
            .arg(port.to_string())
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).expect("the folder is ours"))
            .spawn()
            .expect("/bin/sh runs");
        let server = Self { port, _shell: shell };
        let begun = Instant::now();
        while let Err(error) = PgConnection::connect(&server.url("postgres")).await {
            assert!(begun.elapsed() < START_TIMEOUT, "the server did not start: {error}");
            tokio::task::yield_now().await;
        }
        server
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }
}

/// Finds the folder of the server's binaries: on the path, or where Debian puts the newest version.
fn binaries() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    on_path
        .chain(versions.into_iter().rev())
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

/// Returns the account that the server runs as, if it cannot be this one.
fn account_for_server() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    is_root.then(|| account("postgres").or_else(|| account("nobody")).expect("one of them exists"))
}

/// Returns user and group id of an account.
fn account(name: &str) -> Option<(u32, u32)> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{MISSING}"),
        _ => panic!("{command:?}: {error}"),
    });
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
