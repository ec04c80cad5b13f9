//! How does one fastembed model turn one text into one vector?

use std::path::{Path, PathBuf};

use fastembed::{
    EmbeddingModel, InitOptionsUserDefined, ModelInfo, OutputKey, Pooling, QuantizationMode, TextEmbedding,
    TextInitOptions, TokenizerFiles, UserDefinedEmbeddingModel,
};
use ort::environment::Environment;

use super::catalog::{self, Catalog, Model, Quantisation, ShippedModel};
use super::verifier::Reader;
use super::version::{EmbedderVersion, VersionParts};
use super::{EmbedError, Embedding, LoadError, runtime};

/// What fastembed asks for beside the tokenizer; the same for every BERT model, and in no package.
pub(super) const SPECIAL_TOKENS_MAP: &[u8] = include_bytes!("../../models/special_tokens_map.json");

/// Tokens that a hub's model reads at most. Fastembed lowers it where the model's own limit is lower.
const HUB_WINDOW: usize = 512;

/// The longest beginning of a text that is given to the tokenizer, in bytes per token of the window.
///
/// The tokenizer reads all it gets before it cuts, so a body of megabytes would hold an instance long after the
/// window is full. Ordinary text has 4 to 5 bytes per token; a text that is cut here counts as truncated, which at
/// worst keeps some odd one (mostly white space) out of the semantic tier.
pub(super) const HEAD_BYTES_PER_TOKEN: usize = 32;

/// Opens instances of one model; all are alike.
pub(super) struct Opener {
    model: Model,
    models_dir: PathBuf,
    environment: Environment,
}

impl Opener {
    pub fn new(model: Model, models_dir: &Path, environment: Environment) -> Self {
        Self { model, models_dir: models_dir.to_owned(), environment }
    }

    /// Opens an instance: reads and checks the files, or fetches them from fastembed's hub.
    pub fn open(&self) -> Result<Instance, LoadError> {
        match &self.model {
            Model::Shipped(model) => self.open_shipped(model),
            Model::Hub(model) => self.open_hub(model),
        }
    }

    /// Opens an instance of the verifier that stands beside it.
    pub fn open_verifier(&self) -> Result<Reader, LoadError> {
        Catalog::built_in().verifier().open(&self.models_dir, &self.environment)
    }

    /// Returns the length of a vector.
    pub fn dimension(&self) -> Result<usize, LoadError> {
        match &self.model {
            Model::Shipped(model) => Ok(model.dimension),
            Model::Hub(model) => Ok(self.hub_info(model)?.dim),
        }
    }

    /// Returns what a vector depends on; of a hub's model only after it has been opened, hence fetched, once.
    pub fn version(&self) -> Result<EmbedderVersion, LoadError> {
        let model = match &self.model {
            Model::Shipped(model) => return Ok(model.version()),
            Model::Hub(model) => model,
        };
        let info = self.hub_info(model)?;
        let revision = self.hub_revision(&info.model_code);
        Ok(EmbedderVersion::of(&VersionParts {
            model: &self.model.name(),
            weights: &format!("{}@{revision}/{}", info.model_code, info.model_file),
            tokenizer: &revision,
            dimension: info.dim,
            pooling: &format!("{:?}", TextEmbedding::get_default_pooling_method(model)),
            window: HUB_WINDOW,
            quantisation: &format!("{:?}", TextEmbedding::get_quantization_mode(model)),
        }))
    }

    fn open_shipped(&self, model: &ShippedModel) -> Result<Instance, LoadError> {
        let files = model.read(&self.models_dir)?;
        let tokenizer_files = TokenizerFiles {
            tokenizer_file: files.tokenizer,
            config_file: files.config,
            special_tokens_map_file: SPECIAL_TOKENS_MAP.to_vec(),
            tokenizer_config_file: files.tokenizer_config,
        };
        let pooling = match model.pooling {
            catalog::Pooling::Mean => Pooling::Mean,
            catalog::Pooling::Cls => Pooling::Cls,
        };
        let quantisation = match model.quantisation {
            Quantisation::None => QuantizationMode::None,
            Quantisation::Static => QuantizationMode::Static,
            Quantisation::Dynamic => QuantizationMode::Dynamic,
        };
        let defined = UserDefinedEmbeddingModel::new(files.onnx, tokenizer_files)
            .with_pooling(pooling.clone())
            .with_quantization(quantisation);
        let options = InitOptionsUserDefined::new()
            .with_environment(self.environment.clone())
            .with_execution_providers(vec![runtime::cpu()])
            .with_max_length(model.window)
            .with_intra_threads(1);
        let opened =
            TextEmbedding::try_new_from_user_defined(defined, options).map_err(|error| self.failed(error))?;
        Ok(Instance::new(opened, model.window, model.dimension, pooling, None))
    }

    fn open_hub(&self, model: &EmbeddingModel) -> Result<Instance, LoadError> {
        let info = self.hub_info(model)?;
        let options = TextInitOptions::new(model.clone())
            .with_environment(self.environment.clone())
            .with_execution_providers(vec![runtime::cpu()])
            .with_cache_dir(self.hub_dir())
            .with_show_download_progress(false)
            .with_max_length(HUB_WINDOW)
            .with_intra_threads(1);
        let opened = TextEmbedding::try_new(options).map_err(|error| self.failed(error))?;
        let window = opened.tokenizer.get_truncation().map_or(HUB_WINDOW, |cut| cut.max_length);
        let pooling = TextEmbedding::get_default_pooling_method(model).unwrap_or_default();
        Ok(Instance::new(opened, window, info.dim, pooling, info.output_key.clone()))
    }

    fn hub_info<'m>(&self, model: &'m EmbeddingModel) -> Result<&'m ModelInfo<EmbeddingModel>, LoadError> {
        use fastembed::ModelTrait;
        EmbeddingModel::get_model_info(model).ok_or_else(|| self.failed("fastembed has no entry for it"))
    }

    fn hub_dir(&self) -> PathBuf {
        self.models_dir.join("hub")
    }

    /// Returns the commit that lies in the hub's folder. Fastembed keeps to it once it is there.
    fn hub_revision(&self, model_code: &str) -> String {
        let folder = format!("models--{}", model_code.replace('/', "--"));
        let revision = std::fs::read_to_string(self.hub_dir().join(folder).join("refs/main"));
        revision.map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    /// The cause stands in fastembed's `source()`, not in its message.
    fn failed(&self, error: impl Into<Box<dyn std::error::Error>>) -> LoadError {
        let error = error.into();
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        LoadError::Model { name: self.model.name(), reason }
    }
}

/// One model in memory, used by one thread.
pub(super) struct Instance {
    model: TextEmbedding,
    window: usize,
    dimension: usize,
    pooling: Pooling,
    outputs: Vec<OutputKey>,
}

impl Instance {
    fn new(
        model: TextEmbedding,
        window: usize,
        dimension: usize,
        pooling: Pooling,
        output: Option<OutputKey>,
    ) -> Self {
        // Without a key of the model's own: the names that exporters give to what we want, best first.
        let outputs = output.map_or_else(
            || {
                let names = ["text_embeds", "last_hidden_state", "sentence_embedding"];
                std::iter::once(OutputKey::OnlyOne).chain(names.map(OutputKey::ByName)).collect()
            },
            |key| vec![key],
        );
        Self { model, window, dimension, pooling, outputs }
    }

    /// Returns the vector of one text. Never of several: a dynamically quantised model scales its numbers by all
    /// that is in a batch, so the same text would get another vector beside another neighbour.
    pub fn embed(&mut self, text: &str) -> Result<Embedding, EmbedError> {
        let failed = |error: fastembed::Error| EmbedError::Failed { reason: error.to_string() };
        let head = head(text, self.window * HEAD_BYTES_PER_TOKEN);
        let output = self.model.transform([head], None).map_err(failed)?;
        let [run] = &output.into_raw()[..] else {
            return Err(EmbedError::Failed { reason: "one text did not make one run".into() });
        };
        let pooled = run
            .select_and_pool_output(&self.outputs.as_slice(), Some(self.pooling.clone()))
            .map_err(failed)?;
        if pooled.len() != self.dimension {
            let reason = format!("the model returned {} numbers, not {}", pooled.len(), self.dimension);
            return Err(EmbedError::Failed { reason });
        }
        let tokens = run.attention_mask_array.iter().filter(|mask| **mask != 0).count();
        let truncated = head.len() < text.len() || (tokens >= self.window && self.overflows(head)?);
        let vector: Vec<f32> = pooled.iter().copied().collect();
        Embedding::new(&vector, tokens, truncated)
    }

    /// Tells a text that ends exactly at the window from one that goes on. Fastembed keeps the tokenizer's answer
    /// to itself, so this asks again; only for texts that fill the window, whose run takes many times as long.
    fn overflows(&self, head: &str) -> Result<bool, EmbedError> {
        let encoding = self.model.tokenizer.encode(head, true);
        let encoding = encoding.map_err(|error| EmbedError::Failed { reason: error.to_string() })?;
        Ok(!encoding.get_overflowing().is_empty())
    }
}

/// Returns the beginning of a text, cut between two characters.
pub(super) fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_between_characters() {
        assert_eq!(head("größe", 3), "gr");
        assert_eq!(head("größe", 4), "grö");
        assert_eq!(head("größe", 100), "größe");
        assert_eq!(head("", 3), "");
    }
}
