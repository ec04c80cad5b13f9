//! Whose folder is it?
//!
//! With embedded storage one process owns the data folder: it holds a lock on `refrain.lock` for as long as it lives,
//! and the operating system lets go of it however the process ends. Once its listeners are up it writes into the file
//! how it can be reached, so that a command beside it asks the server and does not open the folder itself.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Secret;

const FILE_NAME: &str = "refrain.lock";
/// A command that asks whether a server runs holds the lock for an instant: whoever finds the folder taken looks
/// again so many times, so far apart.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(20);

/// The data folder is ours until this is dropped.
#[derive(Debug)]
pub struct DataLock {
    file: File,
    path: PathBuf,
}

/// How the process that holds the folder can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub pid: u32,
    /// Its admin listener.
    pub admin: String,
    /// The bearer token for that listener alone: all scopes, all tenants.
    pub token: Secret,
}

/// Why the folder is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("the data folder {} is in use by {}; stop it or name another data_dir", folder.display(), holder(*pid))]
    Taken { folder: PathBuf, pid: Option<u32> },
    #[error("cannot use the data folder {}: {source}", folder.display())]
    Unusable { folder: PathBuf, source: std::io::Error },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

/// What the file says; without address and token while the process is starting.
#[derive(Serialize, Deserialize)]
struct Content {
    pid: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    admin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl DataLock {
    /// Takes the folder, making it where there is none. Blocks for up to a tenth of a second if it is taken.
    #[expect(
        clippy::disallowed_methods,
        reason = "a start that has nothing else to do yet may wait for its folder"
    )]
    pub fn acquire(folder: &Path) -> Result<Self, LockError> {
        let unusable = |source| LockError::Unusable { folder: folder.into(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        let path = folder.join(FILE_NAME);
        // Not truncated: until the lock is ours, what it says is somebody else's.
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(unusable)?;
        let mut locked = file.try_lock();
        for _ in 0..LOOKS {
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(LOOK);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = read_content(&mut file).map(|content| content.pid);
                return Err(LockError::Taken { folder: folder.into(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        // The mode above holds for a new file only.
        file.set_permissions(PermissionsExt::from_mode(0o600)).map_err(unusable)?;
        let mut lock = Self { file, path };
        lock.write(&Content { pid: std::process::id(), admin: None, token: None }).map_err(unusable)?;
        Ok(lock)
    }

    /// Writes down how this process can be reached. An unspecified address is written as loopback, which is how a
    /// command on this machine reaches it.
    pub fn publish(&mut self, admin: SocketAddr, token: &Secret) -> Result<(), LockError> {
        let mut admin = admin;
        if admin.ip().is_unspecified() {
            admin.set_ip(match admin {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let content = Content {
            pid: std::process::id(),
            admin: Some(admin.to_string()),
            token: Some(token.expose().to_owned()),
        };
        let folder = self.path.parent().unwrap_or(&self.path).to_owned();
        self.write(&content).map_err(|source| LockError::Unusable { folder, source })
    }

    /// Returns how the process that holds the folder can be reached; `None` if nobody holds it, or its listeners are
    /// not up yet.
    pub fn read(folder: &Path) -> Option<Running> {
        let mut file = File::open(folder.join(FILE_NAME)).ok()?;
        // A shared lock is enough to learn of an exclusive one, and is let go at once when the file is closed.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            Ok(()) | Err(TryLockError::Error(_)) => return None,
        }
        let Content { pid, admin, token } = read_content(&mut file)?;
        Some(Running { pid, admin: admin?, token: Secret::new(token?) })
    }

    fn write(&mut self, content: &Content) -> std::io::Result<()> {
        let text = serde_json::to_vec(content)?;
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(&text)
    }
}

impl Running {
    /// Returns a new token: 256 bits from the operating system, in hex.
    pub fn new_token() -> Secret {
        Secret::new(hex::encode(rand::random::<[u8; 32]>()))
    }
}

fn read_content(file: &mut File) -> Option<Content> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_who_says_how_to_reach_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("data");
        assert_eq!(DataLock::read(&folder), None);

        let mut lock = DataLock::acquire(&folder).unwrap();
        assert_eq!(DataLock::read(&folder), None, "its listeners are not up");
        let token = Running::new_token();
        lock.publish("0.0.0.0:9464".parse().unwrap(), &token).unwrap();
        let running = Running { pid: std::process::id(), admin: "127.0.0.1:9464".into(), token };
        assert_eq!(DataLock::read(&folder), Some(running));

        let message = DataLock::acquire(&folder).unwrap_err().to_string();
        assert!(message.contains(&std::process::id().to_string()), "{message}");
        assert!(message.contains("data"), "{message}");
        let mode = folder.join(FILE_NAME).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        drop(lock);
        assert_eq!(DataLock::read(&folder), None, "what it wrote is void without the lock");
        DataLock::acquire(&folder).unwrap();
    }

    #[test]
    fn a_token_is_256_bits_and_never_the_same() {
        let (one, other) = (Running::new_token(), Running::new_token());
        assert_eq!(one.expose().len(), 64);
        assert_ne!(one, other);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = DataLock::acquire(&file.path().join("data")).unwrap_err().to_string();
        assert!(message.contains(&file.path().display().to_string()), "{message}");
    }
}
