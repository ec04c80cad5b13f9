//! Refrain: a semantic response cache server. This page is the map of its code.
//!
//! # The journey of a request
//!
//! One direction, one type per step; `gateway` tells the story on one screen.
//!
//! ```text
//! http      bytes → wire dialect → ChatRequest + Directives (tenant, cache controls, deadline)
//! gateway   plan       route by model name, policy (may it read, may it be written, is it volatile?), Key
//!           cache      Fingerprint → memory → store ;  Partition + embedding → index → decision
//!           flight     one leader per question; followers share its answer, streams too
//!           router     alias → chain of upstreams: health, limits, timers, retries, rescue of what broke off
//!           providers  encode → transport → decode → ChatResponse | ProviderError
//!           quality    is it an answer at all? is it fit to be stored?
//!           cache      insert (memory now; store and index in a tracked background task)
//!           degrade    nobody answered: the route's ladder
//! http      Outcome { answer, source } → wire dialect → body or SSE, and headers
//! checks    a share of semantic hits, after they were served: answered afresh, compared, counted
//! ```
//!
//! Two kinds of calls leave the journey before the cache: counts of tokens, and other `/v1` paths, which go on to one
//! provider as they came (`gateway::forward`).
//!
//! Four dialects come in ([`chat::Dialect`]), three formats go out ([`wire::Format`]), and between them there is one
//! form of a request and one of an answer. What only one dialect knows stays whole in that form
//! ([`chat::Part::Other`], the `unknown` maps) and means nothing to the others: it is refused by name where it would
//! shape the answer, and left out where it would not.
//!
//! # The rooms, in ranks
//!
//! An import goes strictly downward, to a room of an earlier line; `tests/it/layering.rs` checks it.
//!
//! | rank | room | its invariant |
//! |--:|---|---|
//! | 0 | [`calibration`] | what labelled pairs say of a decision: counts, intervals, curves; no I/O |
//! | 0 | [`config`] | plain data, imports nothing of ours; alone reads the environment |
//! | 0 | [`single_flight`] | knows no domain type; every ending of a leader is named |
//! | 0 | [`telemetry`] | every metric is declared once; never sees a prompt, an answer or a key |
//! | 0 | [`templates`] | lists of prompts as somebody wrote them; reads the folder of a list and nothing else |
//! | 1 | [`chat`] | the domain: no I/O, no clock; a key destructures its request without `..` |
//! | 2 | [`cost`], [`quality`] | pure looks at models and texts |
//! | 2 | [`transport`] | the one HTTP client; knows no SSE and no vendor |
//! | 2 | [`wire`] | every format that callers or vendors speak, a file for each piece of it; strict with callers, lenient with vendors |
//! | 3 | [`embed`] | one text per run: a vector never depends on what else is running |
//! | 3 | [`index`] | derived from the store, which it does not know; may be thrown away at any time |
//! | 3 | [`providers`] | knowledge of a vendor: addresses, keys, what its errors mean; no I/O |
//! | 3 | [`store`] | the truth; every write is acknowledged after its commit |
//! | 3 | [`webhook`] | one message to one configured address, which is never shown |
//! | 4 | [`alerts`] | no request waits for it; what to say is decided without a clock |
//! | 4 | [`checks`] | counts of right and wrong semantic hits, and the switch that follows from them; keeps no text |
//! | 4 | [`cache`] | may never break a request: a failing tier is a miss; its rules do no I/O and read no clock |
//! | 4 | [`router`] | walks chains under timers; knows of the cache only the settings it carries |
//! | 5 | [`degrade`] | what can be made of a prompt without a model; pure, and never stored |
//! | 6 | [`gateway`] | the journey; the one way into the cache is its `admit` |
//! | 7 | [`jobs`] | a client of `gateway`: a job is promised after its commit and ends once |
//! | 7 | [`precompute`] | a client of `gateway`: what is bought is bought once |
//! | 8 | [`http`] | alone knows axum; the one mapping from errors to statuses |
//! | 9 | [`app`] | alone names every concrete type |
//! | 10 | [`cli`] | one file per subcommand |
//! | 11 | `main` | the only process exit |
//!
//! Four traits stand at the borders of the process: [`embed::Embedder`] and [`embed::Verifier`] (two, so that a test can break
//! one and keep the other), [`index::VectorIndex`] and [`providers::Provider`].
//!
//! # Where this differs from a first guess
//!
//! - `gateway` is a folder: the journey is its `mod.rs`, the leader's task, admission, explanation and what people do
//!   with the cache are files beside it.
//! - An [`chat::Entry`] carries its [`chat::SemanticKey`], the digest of everything but the last prompt. The partition
//!   follows from it and the embedder's version, so a change of the model needs no request keyed anew, and a
//!   neighbour's partition is checked by comparing 32 bytes.
//! - Health, breaker and cooldown belong to one model of an upstream (`router::target`), since that is what limits and
//!   outages befall; a key or a quota to the upstream (`router::account_state`).
//! - `alerts` is a room and no part of `telemetry`: everybody says incidents and counts, and that must know nobody, while
//!   whoever posts them needs the HTTP client.
//! - The index is repaired by comparison ([`index::Fill`]) and not through an outbox: a fill is needed for the
//!   ephemeral embedded index anyway, and one mechanism serves first start, lost server and bloat.

pub mod calibration;
pub mod config;
pub mod single_flight;
pub mod telemetry;
pub mod templates;

pub mod chat;

pub mod cost;
pub mod quality;
pub mod transport;
pub mod wire;

pub mod embed;
pub mod index;
pub mod providers;
pub mod store;
pub mod webhook;

pub mod alerts;
pub mod cache;
pub mod checks;
pub mod router;

pub mod degrade;

pub mod gateway;

pub mod jobs;
pub mod precompute;

pub mod http;

pub mod app;

pub mod cli;
