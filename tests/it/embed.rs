//! The embedder on the real model, as `make models` fetches it.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use refrain::embed::{Catalog, EmbedError, Embedder, Embedding, Model, Pool, PoolOptions};

const SHORT: &str = "How do I reset my password?";

fn models_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn options(models_dir: PathBuf, threads: usize, queue: usize) -> PoolOptions {
    PoolOptions {
        model: Catalog::built_in().model("all-minilm-l6-v2").unwrap(),
        models_dir,
        threads: NonZeroUsize::new(threads).unwrap(),
        queue: NonZeroUsize::new(queue).unwrap(),
    }
}

/// One pool for all tests that do not care which: opening takes longer than everything else here.
fn pool() -> Arc<Pool> {
    static POOL: LazyLock<Arc<Pool>> = LazyLock::new(|| {
        let pool = Pool::start(options(models_dir(), 2, 64));
        Arc::new(pool.unwrap_or_else(|error| panic!("{error}")))
    });
    Arc::clone(&POOL)
}

fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    a.vector().iter().zip(b.vector().iter()).map(|(x, y)| x * y).sum()
}

fn bits(embedding: &Embedding) -> Vec<u32> {
    embedding.vector().iter().map(|x| x.to_bits()).collect()
}

/// A text of so many one-token words.
fn words(count: usize) -> String {
    ["the", "cat", "sat", "on", "a", "mat"].iter().cycle().take(count).copied().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_vector_has_the_models_dimension_and_unit_length() {
    let pool = pool();
    assert_eq!(pool.dimension(), 384);
    for text in [SHORT, "", " ", "\u{0}", "ß漢字🦀", &words(1000)] {
        let embedding = pool.embed(text).await.unwrap();
        assert_eq!(embedding.vector().len(), 384);
        assert!((cosine(&embedding, &embedding) - 1.0).abs() < 1e-5, "{text:.20?}");
    }
}

#[tokio::test]
async fn a_paraphrase_is_closer_than_another_question() {
    let pool = pool();
    let asked = pool.embed(SHORT).await.unwrap();
    let reworded = pool.embed("I forgot my password, how can I reset it?").await.unwrap();
    let other = pool.embed("What is the capital of Mongolia?").await.unwrap();
    assert!(cosine(&asked, &reworded) > 0.8, "{}", cosine(&asked, &reworded));
    assert!(cosine(&asked, &other) < 0.3, "{}", cosine(&asked, &other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vector_is_bit_equal_alone_and_under_load() {
    let pool = pool();
    let alone = bits(&pool.embed(SHORT).await.unwrap());
    let callers = (0..8).map(|caller| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            let long = words(40 * (caller + 1));
            let mut vectors = Vec::new();
            for _ in 0..4 {
                let (_, short) = tokio::join!(pool.embed(&long), pool.embed(SHORT));
                vectors.push(bits(&short.unwrap()));
            }
            vectors
        })
    });
    for vectors in futures_util::future::join_all(callers).await {
        for vector in vectors.unwrap() {
            assert!(vector == alone);
        }
    }
}

#[tokio::test]
async fn a_text_says_whether_it_fits_the_window() {
    let pool = pool();
    // Two of the 256 tokens are the model's own marks at the ends.
    for (count, tokens, truncated) in
        [(1, 3, false), (253, 255, false), (254, 256, false), (255, 256, true), (100_000, 256, true)]
    {
        let embedding = pool.embed(&words(count)).await.unwrap();
        assert_eq!((embedding.tokens(), embedding.truncated()), (tokens, truncated), "{count} words");
    }
    // Few tokens, but more text than is ever read.
    let embedding = pool.embed(&format!("{SHORT}{}{SHORT}", " ".repeat(1_000_000))).await.unwrap();
    assert!(embedding.truncated());
}

#[tokio::test]
async fn the_beginning_of_a_long_text_decides_its_vector() {
    let pool = pool();
    let once = pool.embed(&words(300)).await.unwrap();
    let again = pool.embed(&words(30_000)).await.unwrap();
    assert!(bits(&once) == bits(&again), "which is why a truncated vector never matches alone");
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_rest_is_served() {
    let pool = Pool::start(options(models_dir(), 1, 2)).unwrap();
    let long = words(250);
    let answers = futures_util::future::join_all((0..16).map(|_| pool.embed(&long))).await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((2..16).contains(&served), "{served} served");
    for answer in answers {
        assert!(matches!(answer, Ok(_) | Err(EmbedError::Overloaded { capacity: 2 })));
    }
    assert_eq!(pool.queue_depth(), 0);
}

#[test]
fn pools_of_one_model_share_a_version() {
    let version = pool().version().clone();
    assert!(version.as_str().starts_with("all-minilm-l6-v2-"), "{version}");
    let second = Pool::start(options(models_dir(), 1, 1)).unwrap();
    assert_eq!(second.version(), &version);
}

#[test]
fn fault_77_a_file_with_a_wrong_checksum_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let to = folder.path().join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(models_dir().join(name), to).unwrap();
    };
    for name in ["model_quantized.onnx", "tokenizer.json", "config.json", "tokenizer_config.json"] {
        copy(&format!("all-minilm-l6-v2/{name}"));
    }
    let Ok(Model::Shipped(model)) = Catalog::built_in().model("all-minilm-l6-v2") else { panic!() };
    model.verify(folder.path()).unwrap();

    let path = folder.path().join("all-minilm-l6-v2/tokenizer.json");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let message = model.verify(folder.path()).unwrap_err().to_string();
    assert!(message.contains("all-minilm-l6-v2/tokenizer.json has sha256"), "{message}");
    assert!(message.contains("make models"), "{message}");

    // Nor does a pool start without the runtime that was not copied.
    let message = Pool::start(options(folder.path().to_owned(), 1, 1)).err().unwrap().to_string();
    assert!(message.contains("onnxruntime") && message.contains("make models"), "{message}");
}
