//! `refrain key new`: a key for a caller, and the block that lets it in.

use std::fmt::Write as _;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use rand::TryRngCore;
use rand::rngs::OsRng;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::output::{note, print, print_json};
use crate::config::KeyScope;

/// Make keys for callers
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    New(NewArgs),
}

/// Make a key and print it, once, with the block for the configuration
///
/// Touches no file and asks no server. The key is `rf_<id>_<secret><checksum>`: 8 hex digits to tell keys apart, 64 of
/// secret from the operating system's generator, and the first 8 of the SHA-256 of all before them, so that a scanner
/// that finds one in a repository knows it from a look-alike. The configuration holds its hash alone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  refrain key new --name web --tenant shop --scopes generate,debug\n\n\
                        Put the block into refrain.toml, give the key to the caller, and restart the server.")]
pub struct NewArgs {
    /// What the key is called in logs
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: String,
    /// Whose cache it opens
    #[arg(long, default_value = "default", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    tenant: String,
    /// What it may do
    #[arg(long, value_delimiter = ',', default_value = "generate",
          value_parser = PossibleValuesParser::new(KeyScope::ALL.map(KeyScope::name)))]
    scopes: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What stands under `[[auth.keys]]`.
#[derive(Debug, Serialize)]
struct Block {
    name: String,
    tenant: String,
    scopes: Vec<String>,
    /// Hex SHA-256 of the whole key.
    sha256: String,
}

pub fn run(KeyCommand::New(args): KeyCommand) -> anyhow::Result<()> {
    let mut random = [0; RANDOM_BYTES];
    OsRng.try_fill_bytes(&mut random)?;
    let key = spell(&random);
    let block = Block {
        name: args.name,
        tenant: args.tenant,
        scopes: args.scopes,
        sha256: hex::encode(Sha256::digest(&key)),
    };
    if args.json {
        return print_json(&serde_json::json!({"key": key, "block": block}));
    }
    note("the key is shown this once; the configuration needs the block alone");
    print(&format!("{key}\n\n# {}…\n[[auth.keys]]\n{}", &key[..ID_END], toml::to_string(&block)?))
}

const ID_BYTES: usize = 4;
const SECRET_BYTES: usize = 32;
const RANDOM_BYTES: usize = ID_BYTES + SECRET_BYTES;
/// Where the part of a key that may be shown ends: `rf_` and the id.
const ID_END: usize = 3 + 2 * ID_BYTES;

fn spell(random: &[u8; RANDOM_BYTES]) -> String {
    let (id, secret) = random.split_at(ID_BYTES);
    let mut key = format!("rf_{}_{}", hex::encode(id), hex::encode(secret));
    let checksum = Sha256::digest(&key);
    write!(key, "{}", hex::encode(&checksum[..4])).expect("a String takes every text");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AuthConfig, Environment, Flags, load};

    #[test]
    fn a_key_says_whether_it_is_whole() {
        let key = spell(&[7; RANDOM_BYTES]);
        assert_eq!(key.len(), 3 + 8 + 1 + 64 + 8);
        let (all_before, checksum) = key.split_at(key.len() - 8);
        assert_eq!(checksum, &hex::encode(Sha256::digest(all_before))[..8]);
        assert_eq!(&key[..ID_END], "rf_07070707");
    }

    #[test]
    fn the_block_is_one_the_configuration_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refrain.toml");
        let block = Block {
            name: "a \"quoted\" name".into(),
            tenant: "shop".into(),
            scopes: vec!["generate".into(), "debug".into()],
            sha256: "ab".repeat(32),
        };
        std::fs::write(&path, format!("[[auth.keys]]\n{}", toml::to_string(&block).unwrap())).unwrap();
        let config =
            load(&Flags { config: Some(path), ..Flags::default() }, &Environment::default()).unwrap();
        let AuthConfig { keys, .. } = config.auth;
        assert_eq!(keys[0].name, block.name);
        assert_eq!(keys[0].scopes, [KeyScope::Generate, KeyScope::Debug]);
        assert_eq!(keys[0].sha256.0, [0xab; 32]);
    }
}
