//! What do the models take of the memory?
//!
//! Of the real binary, in a process of its own, once without any model and once with one thread of them, after prompts of
//! every length. The server opens embedder and verifier together, so the verifier's own part is what this program grows by
//! where it opens one as the server does, in a process that does nothing else.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use fastembed::{RerankInitOptionsUserDefined, TextRerank, TokenizerFiles, UserDefinedRerankingModel};

use refrain::embed::Catalog;

use super::load::Client;
use super::load::prompts::long_prompts;
use super::native;

/// The argument with which this program weighs the verifier, says how many KiB it takes, and ends.
pub const VERIFIER_ALONE: &str = "--verifier-alone";
/// Prompts of each length that are asked before a process is weighed.
const PROMPTS: usize = 50;
const SENTENCES: [usize; 3] = [0, 3, 14];

/// Prints what a server holds with and without the models.
pub async fn print() {
    let bare = server_kib("exact").await;
    let whole = server_kib("semantic").await;
    let verifier = verifier_kib_apart();
    println!(
        "\nresident memory of the server, one embedding thread\n  no model              {:>6.0} MB\n  without the verifier  \
         {:>6.0} MB\n  as it is shipped      {:>6.0} MB",
        mb(bare),
        mb(whole - verifier),
        mb(whole)
    );
}

fn mb(kib: i64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

/// A server that ends with its owner.
struct Apart(Child);

impl Drop for Apart {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the real binary in this mode, asks it, and returns its resident memory.
async fn server_kib(mode: &str) -> i64 {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let models = std::env::current_dir().expect("there is a working folder").join("models");
    let mut child = Command::new(env!("CARGO_BIN_EXE_refrain"))
        .args(["serve", "--sandbox", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .current_dir(folder.path())
        .env("REFRAIN__CACHE__MODE", mode)
        .env("REFRAIN__EMBEDDING__THREADS", "1")
        .env("REFRAIN__MODELS_DIR", models)
        .env("RUST_LOG", "refrain=error")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut said = BufReader::new(child.stderr.take().expect("it was piped"));
    let server = Apart(child);
    let mut client = Client::connect(address(&mut said), "/v1/generate", "").await;
    for sentences in SENTENCES {
        for (stored, asked) in (0..PROMPTS).map(|at| long_prompts(at, sentences)) {
            client.ask_with(&native(&stored)).await;
            client.ask_with(&native(&asked)).await;
        }
    }
    resident_kib(&server.0.id().to_string())
}

/// Reads the line that says where the server listens.
fn address(said: &mut impl BufRead) -> SocketAddr {
    let mut line = String::new();
    while said.read_line(&mut line).expect("it says something") > 0 {
        if let Some(address) = line.split_whitespace().find_map(|word| word.strip_prefix("public=")) {
            return address.parse().expect("it says an address");
        }
        line.clear();
    }
    panic!("the server did not start");
}

/// Runs this program for the verifier alone.
fn verifier_kib_apart() -> i64 {
    let program = std::env::current_exe().expect("this program has a name");
    let mut command = Command::new(program);
    // The server's own setting of glibc, which keeps what opening a model needs for a moment from staying.
    let said = command.arg(VERIFIER_ALONE).env("MALLOC_MMAP_THRESHOLD_", "131072").output();
    let said = said.expect("this program runs again");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8_lossy(&said.stdout).trim().parse().expect("it says a number")
}

/// Returns by how much this process grows by a verifier.
pub fn verifier_kib() -> i64 {
    let library =
        Catalog::built_in().runtime_library("models".as_ref()).expect("there is one for this machine");
    let environment = ort::init_from(library).expect("the runtime is there: make models");
    let environment = environment.with_telemetry(false).build().expect("nobody else has loaded it");
    let read = |file: &str| std::fs::read(format!("models/verifier/{file}")).expect("the verifier ships");
    let before = resident_kib("self");
    let files = TokenizerFiles {
        tokenizer_file: read("tokenizer.json"),
        config_file: br#"{"pad_token_id": 0}"#.to_vec(),
        special_tokens_map_file: include_bytes!("../../models/special_tokens_map.json").to_vec(),
        tokenizer_config_file: br#"{"model_max_length": 512, "pad_token": "[PAD]"}"#.to_vec(),
    };
    let defined = UserDefinedRerankingModel::new(read("verifier.onnx"), files);
    let options = RerankInitOptionsUserDefined::new()
        .with_environment(environment.clone())
        .with_execution_providers(vec![ort::ep::CPU::default().with_arena_allocator(false).build()])
        .with_max_length(512)
        .with_intra_threads(1);
    let mut verifier = TextRerank::try_new_from_user_defined(defined, options).expect("the verifier opens");
    for sentences in SENTENCES {
        for (stored, asked) in (0..PROMPTS).map(|at| long_prompts(at, sentences)) {
            verifier.rerank(asked.as_str(), [stored.as_str()], false, Some(1)).expect("the verifier reads");
        }
    }
    let after = resident_kib("self");
    drop(verifier);
    after - before
}

fn resident_kib(process: &str) -> i64 {
    let status =
        std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux says what it holds");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it says what is resident");
    line.trim().trim_end_matches(" kB").parse().expect("a size is a number")
}
