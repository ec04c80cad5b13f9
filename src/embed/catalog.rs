//! Which files make an embedder, and are they the ones we know?

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use fastembed::EmbeddingModel;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::LoadError;
use super::verifier::ShippedVerifier;
use super::version::{EmbedderVersion, VersionParts};

const ONNX: &str = "model_quantized.onnx";
const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// The names, packages and checksums of `models/models.toml`, compiled in so that a changed file beside the binary
/// cannot vouch for a changed model.
#[derive(Debug, Deserialize)]
pub struct Catalog {
    default_model: String,
    models: Vec<ShippedModel>,
    verifier: ShippedVerifier,
    runtime: Runtime,
}

impl Catalog {
    /// Returns the catalog of this build.
    pub fn built_in() -> &'static Self {
        static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
            toml::from_str(include_str!("../../models/models.toml"))
                .expect("models.toml is compiled in, and a test reads it")
        });
        &CATALOG
    }

    /// Returns the name of the model that is used when none is configured.
    pub fn default_model(&self) -> &str {
        &self.default_model
    }

    /// Returns the models whose files we know.
    pub fn models(&self) -> &[ShippedModel] {
        &self.models
    }

    /// Returns the model that looks at pairs a second time.
    pub fn verifier(&self) -> &ShippedVerifier {
        &self.verifier
    }

    /// Finds a model by its name: first among ours, then among fastembed's own (`BGEBaseENV15Q`, in any case).
    ///
    /// # Errors
    /// [`LoadError::UnknownModel`], which lists names that would do.
    pub fn model(&'static self, name: &str) -> Result<Model, LoadError> {
        if let Some(shipped) = self.models.iter().find(|model| model.name == name) {
            return Ok(Model::Shipped(shipped));
        }
        name.parse().map(Model::Hub).map_err(|_| LoadError::UnknownModel {
            name: name.to_owned(),
            shipped: self.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", "),
            hub: format!(
                "{:?}, {:?}, {:?}",
                EmbeddingModel::BGEBaseENV15Q,
                EmbeddingModel::MultilingualE5Small,
                EmbeddingModel::AllMpnetBaseV2
            ),
        })
    }

    /// Returns where ONNX Runtime's library lies under `models_dir`, after checking every byte of it.
    ///
    /// # Errors
    /// When this machine is not in the catalog, or the library is missing or another one.
    pub fn runtime_library(&self, models_dir: &Path) -> Result<PathBuf, LoadError> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        let library = self
            .runtime
            .libraries
            .iter()
            .find(|library| library.os == os && library.arch == arch)
            .ok_or(LoadError::UnknownPlatform { os, arch })?;
        let path = models_dir.join("onnxruntime").join(&library.file.name);
        library.file.verify(&path)?;
        Ok(path)
    }
}

/// A model that can be named in the configuration.
#[derive(Clone, Debug)]
pub enum Model {
    /// In `models.toml`: fetched by `make models`, checked by us.
    Shipped(&'static ShippedModel),
    /// Any other that fastembed knows and fetches by itself.
    Hub(EmbeddingModel),
}

impl Model {
    /// Returns the name under which it is configured.
    pub fn name(&self) -> String {
        match self {
            Self::Shipped(model) => model.name.clone(),
            Self::Hub(model) => format!("{model:?}"),
        }
    }
}

/// A model of `models.toml`.
#[derive(Debug, Deserialize)]
pub struct ShippedModel {
    pub(super) name: String,
    pub(super) dimension: usize,
    pub(super) pooling: Pooling,
    pub(super) window: usize,
    pub(super) quantisation: Quantisation,
    files: Vec<KnownFile>,
}

impl ShippedModel {
    /// Returns the model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Checks every byte of the model's files under `models_dir`.
    ///
    /// # Errors
    /// The first file that is missing or another one.
    pub fn verify(&self, models_dir: &Path) -> Result<(), LoadError> {
        self.files.iter().try_for_each(|file| file.verify(&self.path(models_dir, &file.name)))
    }

    /// Reads the model's files under `models_dir`, checking what was read rather than what lay there before.
    pub(super) fn read(&self, models_dir: &Path) -> Result<ModelFiles, LoadError> {
        let read = |name: &'static str| -> Result<Vec<u8>, LoadError> {
            let path = self.path(models_dir, name);
            match self.files.iter().find(|file| file.name == name) {
                Some(file) => file.read(&path),
                None => {
                    let source = std::io::Error::other("models.toml does not name it");
                    Err(LoadError::Unreadable { path, source })
                }
            }
        };
        Ok(ModelFiles {
            onnx: read(ONNX)?,
            tokenizer: read(TOKENIZER)?,
            config: read(CONFIG)?,
            tokenizer_config: read(TOKENIZER_CONFIG)?,
        })
    }

    /// Returns the sha256 of the first source's file; the second source's differs in formatting only.
    fn sha256(&self, name: &str) -> &str {
        self.files.iter().find(|file| file.name == name).map_or("", |file| &file.sha256)
    }

    /// Returns what this model's vectors depend on.
    pub(super) fn version(&self) -> EmbedderVersion {
        EmbedderVersion::of(&VersionParts {
            model: &self.name,
            weights: self.sha256(ONNX),
            tokenizer: self.sha256(TOKENIZER),
            dimension: self.dimension,
            pooling: &format!("{:?}", self.pooling),
            window: self.window,
            quantisation: &format!("{:?}", self.quantisation),
        })
    }

    fn path(&self, models_dir: &Path, file: &str) -> PathBuf {
        models_dir.join(&self.name).join(file)
    }
}

/// How the vectors of a text's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Pooling {
    Mean,
    Cls,
}

/// How the model's numbers were made smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Quantisation {
    None,
    Static,
    Dynamic,
}

/// The contents of a shipped model, each checked against the catalog.
pub(super) struct ModelFiles {
    pub onnx: Vec<u8>,
    pub tokenizer: Vec<u8>,
    pub config: Vec<u8>,
    pub tokenizer_config: Vec<u8>,
}

#[derive(Debug, Deserialize)]
struct Runtime {
    libraries: Vec<Library>,
}

#[derive(Debug, Deserialize)]
struct Library {
    os: String,
    arch: String,
    #[serde(flatten)]
    file: KnownFile,
}

/// A file whose bytes we know.
#[derive(Debug, Deserialize)]
pub(super) struct KnownFile {
    name: String,
    sha256: String,
    /// Of the same file from the second source, where it is formatted differently.
    second_sha256: Option<String>,
}

impl KnownFile {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn verify(&self, path: &Path) -> Result<(), LoadError> {
        let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut digest = Sha256::new();
        let mut block = vec![0; 1 << 16];
        loop {
            let length = file.read(&mut block).map_err(unreadable)?;
            if length == 0 {
                return self.expect(path, digest);
            }
            digest.update(&block[..length]);
        }
    }

    pub fn read(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        let bytes =
            std::fs::read(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
        self.expect(path, Sha256::new_with_prefix(&bytes))?;
        Ok(bytes)
    }

    fn expect(&self, path: &Path, digest: Sha256) -> Result<(), LoadError> {
        let found = hex::encode(digest.finalize());
        if found == self.sha256 || Some(&found) == self.second_sha256.as_ref() {
            return Ok(());
        }
        Err(LoadError::WrongChecksum { path: path.to_owned(), expected: self.sha256.clone(), found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalog_is_whole() {
        let catalog = Catalog::built_in();
        assert!(matches!(catalog.model(catalog.default_model()), Ok(Model::Shipped(_))));
        for model in catalog.models() {
            for name in [ONNX, TOKENIZER, CONFIG, TOKENIZER_CONFIG] {
                let file = model.files.iter().find(|file| file.name == name).unwrap();
                assert_eq!(file.sha256.len(), 64, "{} {name}", model.name);
            }
        }
    }

    #[test]
    fn fastembeds_own_models_are_found_by_name() {
        let found = Catalog::built_in().model("bgebaseenv15q").unwrap();
        assert!(matches!(found, Model::Hub(EmbeddingModel::BGEBaseENV15Q)));
    }

    #[test]
    fn an_unknown_model_is_told_what_there_is() {
        let message = Catalog::built_in().model("gpt-4o").unwrap_err().to_string();
        assert!(message.contains("all-minilm-l6-v2, bge-small-en-v1.5"), "{message}");
        assert!(message.contains("MultilingualE5Small"), "{message}");
    }

    #[test]
    fn a_missing_file_is_named_with_what_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(Model::Shipped(model)) = Catalog::built_in().model("all-minilm-l6-v2") else { panic!() };
        let message = model.verify(folder.path()).unwrap_err().to_string();
        assert!(message.contains("all-minilm-l6-v2/model_quantized.onnx"), "{message}");
        assert!(message.contains("make models"), "{message}");
    }

    #[test]
    fn either_source_of_a_file_will_do_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let sha256 = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let file =
            KnownFile { name: "f".into(), sha256: sha256(b"one"), second_sha256: Some(sha256(b"two")) };
        for (contents, right) in [("one", true), ("two", true), ("three", false)] {
            std::fs::write(&path, contents).unwrap();
            assert_eq!(file.verify(&path).is_ok(), right);
            assert_eq!(file.read(&path).is_ok(), right);
        }
    }
}
